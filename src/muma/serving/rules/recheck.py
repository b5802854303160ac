"""The last look before an answer leaves: item by item, in plain Python, by a way of its own.

Whatever made the list (sources, a cache, the editorial list, a caller's own candidates), nothing that a
rule forbids, and nothing above a maximum, goes out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from muma.serving.facts import ItemFact, ItemFacts
from muma.serving.recommending import Ask, Hit
from muma.serving.rules.rule import Bounds, Case, Rule, UserState
from muma.serving.rules.standing import StandingOne

NAMED = 20


def recheck(
    items: Sequence[int],
    ask: Ask,
    facts: ItemFacts,
    rules: Sequence[Rule],
    user: UserState = UserState(),
) -> tuple[list[int], tuple[Hit, ...]]:
    """Keep what may be shown, in the order given.

    Args:
        items: dense items in slot order.
        ask: the request.
        facts: the newest snapshot of the items.
        rules: of the newest rule set.
        user: what is known of the user.

    Returns:
        Items that stay, and a hit for every rule that dropped one. An item that was dropped frees its
        slot, so that later ones move up.
    """
    case = Case(ask, facts, user)
    standing = StandingOne(case)
    held = [rule for rule in rules if rule.holds(ask)]
    limits = [(rule, rule.bounds(ask.count)) for rule in held if rule.effect == "limit"]
    counts: list[Counter[str]] = [Counter() for _ in limits]
    kept: dict[int, None] = {}
    dropped: dict[tuple[str, str], list[str]] = {}
    size = len(facts)
    for item in items:
        if not 0 <= item < size:
            dropped.setdefault(("item.unknown", "removed"), []).append(str(item))
            continue
        fact = facts.one(item)
        if (name := standing.of(item, fact)) is not None:
            why = (name, "removed")
        else:
            why = _why(case, item, fact, held, limits, counts, len(kept)) if held else None
        if item in kept:
            why = ("item.twice", "removed")
        if why is not None:
            dropped.setdefault(why, []).append(fact.id)
            continue
        for (rule, bounds), count in zip(limits, counts, strict=True):
            if len(kept) < bounds.within and rule.touches_one(case, item, fact):
                count.update(rule.groups_one(fact))
        kept[item] = None
    hits = [
        Hit(rule, action, tuple(names[:NAMED]), len(names))
        for (rule, action), names in dropped.items()
    ]
    return [*kept], tuple(hits)


def _why(
    case: Case,
    item: int,
    fact: ItemFact,
    held: Sequence[Rule],
    limits: Sequence[tuple[Rule, Bounds]],
    counts: Sequence[Counter[str]],
    slot: int,
) -> tuple[str, str] | None:
    """Rule and action that keep an item out; None when it may stay."""
    for rule in held:
        if rule.effect == "forbid" and rule.touches_one(case, item, fact):
            return rule.id, "removed"
    for (rule, bounds), count in zip(limits, counts, strict=True):
        if bounds.high is None or slot >= bounds.within or not rule.touches_one(case, item, fact):
            continue
        if any(count[group] >= bounds.high for group in rule.groups_one(fact)):
            return rule.id, "capped"
    return None
