"""Rules that get in each other's way, found before a request meets them.

Only rules that may hold for one request at one time are compared. What depends on the request alone (a
visitor's age, say) is not guessed at. With a catalogue more can be told: tags of a pinned item, how many
items a minimum can draw on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from muma.serving.facts import ItemFact, ItemFacts
from muma.serving.recommending import Ask
from muma.serving.rules.blocked import Blocked
from muma.serving.rules.only import Only
from muma.serving.rules.pin import Pin
from muma.serving.rules.rule import Case, Rule
from muma.serving.rules.selection import Selection
from muma.serving.rules.without import Without

_ONE_OF = ("items", "categories", "authors", "domains")  # an item has one value at most
_ANY_OF = (*_ONE_OF, "tags_any")


@dataclass(frozen=True)
class Conflict:
    """Rules that cannot all be kept.

    Attributes:
        rules: their ids.
        text: what is wrong, a sentence.
    """

    rules: tuple[str, ...]
    text: str


def conflicts(
    rules: Sequence[Rule], facts: ItemFacts | None = None, *, count: int = 10
) -> tuple[Conflict, ...]:
    """Everything that is wrong among rules.

    Args:
        rules: of one set.
        facts: of the items; None compares the rules alone.
        count: slots of a list, by which shares become numbers.
    """
    live = [rule for rule in rules if rule.config.enabled]
    found: list[Conflict] = []
    if facts is not None:
        found += [
            Conflict((rule.id,), problem) for rule in live for problem in rule.problems(facts)
        ]
    for check in (_pins, _pins_forbidden, _pins_over_maximum, _bounds, _sums, _starved):
        found += check(live, facts, count)
    return tuple(found)


def together(a: Rule, b: Rule) -> bool:
    """Whether two rules may hold for the same request."""
    for one, other in ((a.config, b.config), (b.config, a.config)):
        start, end = one.valid_from, other.valid_until
        if start is not None and end is not None and start >= end:
            return False
    return a.config.audience.meets(b.config.audience)


def inside(a: Selection, b: Selection) -> bool:
    """Whether every item of `a` is surely one of `b`."""
    for name in _ANY_OF:
        wide, narrow = getattr(b, name), getattr(a, name)
        if wide and not (narrow and set(narrow) <= set(wide)):
            return False
    if b.younger_than_hours is not None and not (
        a.younger_than_hours is not None and a.younger_than_hours <= b.younger_than_hours
    ):
        return False
    if b.older_than_hours is not None and not (
        a.older_than_hours is not None and a.older_than_hours >= b.older_than_hours
    ):
        return False
    return set(b.tags_all) <= set(a.tags_all)


def apart(a: Selection, b: Selection) -> bool:
    """Whether no item can be one of both."""
    pairs = [(getattr(a, name), getattr(b, name)) for name in _ONE_OF]
    return any(x and y and set(x).isdisjoint(y) for x, y in pairs)


def _pairs(live: Sequence[Rule], wanted: Callable[[Rule], bool]) -> Iterator[tuple[Rule, Rule]]:
    return ((a, b) for a, b in combinations([r for r in live if wanted(r)], 2) if together(a, b))


def _pins(live: Sequence[Rule], facts: ItemFacts | None, count: int) -> Iterator[Conflict]:
    del facts, count
    for a, b in _pairs(live, lambda rule: rule.effect == "pin"):
        if a.config.slot == b.config.slot:
            yield Conflict((a.id, b.id), f"both pin an item to slot {a.config.slot}")
        elif a.config.item == b.config.item:
            yield Conflict((a.id, b.id), f"both pin item {a.config.item!r}")


def _fact(pin: Rule, facts: ItemFacts | None) -> ItemFact | None:
    """What is known of a pinned item; None where only its id is."""
    at = -1 if facts is None else facts.find(pin.config.item)
    return None if facts is None or at < 0 else facts.one(at)


def _pins_forbidden(
    live: Sequence[Rule], facts: ItemFacts | None, count: int
) -> Iterator[Conflict]:
    del count
    for pin in (rule for rule in live if isinstance(rule, Pin)):
        known = _fact(pin, facts)
        fact = known or ItemFact(pin.config.item)
        for rule in live:
            if not isinstance(rule, Blocked | Without | Only) or not together(pin, rule):
                continue
            select = rule.config.select
            if select.aging or (known is None and isinstance(rule, Only) and not select.items):
                continue
            case = Case(Ask("", time=0), facts or ItemFacts.empty())
            if rule.touches_one(case, -1, fact):
                yield Conflict((pin.id, rule.id), f"{fact.id!r} is pinned, and forbidden")
        if known is not None:
            yield from _pin_outside_its_time(pin, known)


def _pin_outside_its_time(pin: Rule, fact: ItemFact) -> Iterator[Conflict]:
    start, end = pin.config.valid_from, pin.config.valid_until
    for name, last in (("rights end", fact.rights_until), ("it expires", fact.expires_at)):
        if start is not None and last is not None and last <= start:
            yield Conflict((pin.id,), f"{fact.id!r}: {name} before the pin begins")
    for name, first in (("rights begin", fact.rights_from), ("embargo ends", fact.embargo_until)):
        if end is not None and first is not None and first >= end:
            yield Conflict((pin.id,), f"{fact.id!r}: {name} after the pin ends")


def _pins_over_maximum(
    live: Sequence[Rule], facts: ItemFacts | None, count: int
) -> Iterator[Conflict]:
    pins = [rule for rule in live if rule.effect == "pin"]
    case = Case(Ask("", time=0), facts or ItemFacts.empty())
    for rule in live:
        if rule.effect != "limit" or (bounds := rule.bounds(count)).high is None:
            continue
        if rule.config.select.aging:
            continue
        held: dict[str, list[str]] = {}
        for pin in pins:
            fact = _fact(pin, facts)
            if fact is None or pin.config.slot >= bounds.within or not together(pin, rule):
                continue
            if rule.touches_one(case, -1, fact):
                for group in rule.groups_one(fact):
                    held.setdefault(group, []).append(pin.id)
        for group, ids in held.items():
            if len(ids) > bounds.high:
                about = f" of {group!r}" if group else ""
                yield Conflict(
                    (*ids, rule.id), f"{len(ids)} pins{about}, and at most {bounds.high} may stand"
                )


def _bounds(live: Sequence[Rule], facts: ItemFacts | None, count: int) -> Iterator[Conflict]:
    """Minimums above the maximum of the same items."""
    del facts
    limits = [rule for rule in live if rule.effect == "limit"]
    for a in limits:
        low = a.bounds(count)
        if low.low == 0:
            continue
        for b in limits:
            high = b.bounds(count)
            if high.high is None or not together(a, b) or low.within > high.within:
                continue
            groups = _groups_at_most(a.config.select, b)
            if groups is not None and low.low > high.high * groups:
                yield Conflict(
                    tuple(dict.fromkeys((a.id, b.id))),
                    f"at least {low.low} of {count} slots, and at most {high.high * groups}",
                )


def _groups_at_most(select: Selection, limit: Rule) -> int | None:
    """Groups of a limit that the items of a selection lie in, at most; None if that is not known."""
    if not inside(select, limit.config.select):
        return None
    author, category = ItemFact("-", author="-"), ItemFact("-", category="-")
    if limit.groups_one(ItemFact("-")) == ("",):
        return 1  # one group of all
    samples = (("author", author), ("category", category))
    named = {name for name, sample in samples if limit.groups_one(sample)}
    for name, values in (("author", select.authors), ("category", select.categories)):
        if named == {name} and values:
            return len(set(values))
    return None


def _sums(live: Sequence[Rule], facts: ItemFacts | None, count: int) -> Iterator[Conflict]:
    """Minimums of different items that need more slots than there are."""
    del facts
    lows = [(rule, rule.bounds(count)) for rule in live if rule.effect == "limit"]
    lows = [(rule, bounds) for rule, bounds in lows if bounds.low > 0]
    for within in sorted({bounds.within for _, bounds in lows}):
        chosen: list[tuple[Rule, int]] = []
        for rule, bounds in lows:
            if bounds.within <= within and all(
                apart(rule.config.select, other.config.select) and together(rule, other)
                for other, _ in chosen
            ):
                chosen.append((rule, bounds.low))
        total = sum(low for _, low in chosen)
        if len(chosen) > 1 and total > within:
            yield Conflict(
                tuple(rule.id for rule, _ in chosen),
                f"together they need {total} of {within} slots",
            )


def _starved(live: Sequence[Rule], facts: ItemFacts | None, count: int) -> Iterator[Conflict]:
    """Minimums whose items are forbidden, or too few."""
    for rule in live:
        if rule.effect != "limit" or (low := rule.bounds(count).low) == 0:
            continue
        for other in live:
            if (
                isinstance(other, Without)
                and together(rule, other)
                and inside(rule.config.select, other.config.select)
            ):
                yield Conflict((rule.id, other.id), "a minimum of items that are all forbidden")
        if facts is None:
            continue
        mask_I = rule.fixed(facts)
        if (there := int(np.count_nonzero(mask_I))) < low:
            yield Conflict((rule.id,), f"at least {low}, and the catalogue has {there}")
        for cap in live:
            high = cap.bounds(count).high if cap.effect == "limit" else None
            if high is None or cap is rule or not together(rule, cap):
                continue
            if cap.bounds(count).within < rule.bounds(count).within:
                continue
            most = _supply(cap, facts, np.flatnonzero(mask_I & cap.fixed(facts)), high)
            most += int(np.count_nonzero(mask_I & ~cap.fixed(facts)))
            if most < low <= there:
                yield Conflict((rule.id, cap.id), f"at least {low}, and the maximum leaves {most}")


def _supply(cap: Rule, facts: ItemFacts, item_N: np.ndarray, high: int) -> int:
    """Items of some that a maximum lets through at best."""
    place_X, group_X = cap.groups(Case(Ask("", time=0), facts), item_N)
    grouped = len(np.unique(place_X))
    per_group = Counter(group_X.tolist())
    return len(item_N) - grouped + sum(min(high, members) for members in per_group.values())
