"""What other rules would change: the same requests, answered under both, and by which rule.

A changed rule is a cause of what happened to an item if, without the change of this rule, it would not have
happened; where that is so of none, because several do the same, every rule whose change alone makes it
happen is one. What has none came of several together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from muma.progress import track
from muma.serving.facts import ItemFacts
from muma.serving.recommending import Ask, Evidence, Recommending
from muma.serving.rules.conflicts import Conflict, conflicts
from muma.serving.rules.ruleset import RuleSet

MOST_CAUSES = 20
"""Changed rules that are tried one by one; each costs two more answers to a request whose list changes."""


@dataclass(frozen=True)
class Move:
    """An item that stands in both lists, elsewhere; slots from 0."""

    item: str
    before: int
    after: int


@dataclass(frozen=True)
class Change:
    """One request under both sets of rules.

    Attributes:
        request_id: of the request.
        user: who asks; None for nobody known.
        before: own ids in slot order under the old rules.
        after: under the new ones.
        known: whether anything was known of the user.
        causes: item -> ids of the changed rules by which it left, entered or moved.
    """

    request_id: str
    user: str | None
    before: tuple[str, ...]
    after: tuple[str, ...]
    known: bool = False
    causes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def entered(self) -> tuple[str, ...]:
        """Items that only the new list holds, in its order."""
        return tuple(item for item in self.after if item not in self.before)

    @property
    def left(self) -> tuple[str, ...]:
        """Items that only the old list holds, in its order."""
        return tuple(item for item in self.before if item not in self.after)

    @property
    def moved(self) -> tuple[Move, ...]:
        """Items of both lists in another slot, in the order of the new one."""
        return tuple(
            Move(item, self.before.index(item), slot)
            for slot, item in enumerate(self.after)
            if item in self.before and self.before.index(item) != slot
        )


@dataclass(frozen=True)
class Preview:
    """What would change.

    Attributes:
        changes: one a request, unchanged ones among them.
        touched: rule and action -> items touched under the old rules, and under the new ones.
        versions: content of the old rules and of the new ones.
        differ: ids of rules that only one set has, or that differ.
        tried: those of them that were tried as causes.
        conflicts: rules of the new set that cannot all be kept.
    """

    changes: tuple[Change, ...]
    touched: Mapping[tuple[str, str], tuple[int, int]]
    versions: tuple[str, str] = ("", "")
    differ: tuple[str, ...] = ()
    tried: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()

    @property
    def changed(self) -> int:
        """Requests whose list differs."""
        return sum(change.before != change.after for change in self.changes)


class Previews(Protocol):
    """Says what other rules than those in force would change."""

    def preview(self, rules: Sequence[Mapping[str, Any]], asks: Sequence[Ask]) -> Preview:
        """Answer requests under the rules in force and under these; nothing is kept of it.

        Raises:
            ConfigError: rules are wrong; one line an error, all at once.
        """
        ...


def preview(
    recommending: Callable[[RuleSet], Recommending],
    old: RuleSet,
    new: RuleSet,
    asks: Iterable[Ask],
    *,
    facts: ItemFacts | None = None,
) -> Preview:
    """Answer every request under both sets; equal request ids make all draws the same.

    Args:
        recommending: an engine under some rules; it must not write to the evidence log.
        old: the rules in force.
        new: the rules that are proposed.
        asks: requests to try.
        facts: of the items, for conflicts; None compares the rules alone.
    """
    asks = list(asks)
    engines = recommending(old), recommending(new)
    differ = _differ(old, new)
    tried = differ[:MOST_CAUSES]
    without = {rule: recommending(_with_rule(new, old, rule)) for rule in tried}
    alone = {rule: recommending(_with_rule(old, new, rule)) for rule in tried}
    counts: tuple[Counter[tuple[str, str]], ...] = (Counter(), Counter())
    changes = []
    for ask in track(asks, label="requests"):
        evidence = [engine.answer(ask) for engine in engines]
        for told, count in zip(evidence, counts, strict=True):
            for hit in told.hits:
                count[hit.rule, hit.action] += hit.count
        known = evidence[0].user_index >= 0
        change = Change(ask.request_id, ask.user, _list(evidence[0]), _list(evidence[1]), known)
        if change.before != change.after:
            change = replace(change, causes=_causes(change, ask, without, alone))
        changes.append(change)
    keys = dict.fromkeys([*counts[0], *counts[1]])
    touched = {key: (counts[0][key], counts[1][key]) for key in keys}
    most = max((ask.count for ask in asks), default=10)
    found = conflicts(new.rules, facts, count=most)
    return Preview(
        tuple(changes), touched, (old.version, new.version), differ, tried, found
    )  # fmt: skip


def _causes(
    change: Change,
    ask: Ask,
    without: Mapping[str, Recommending],
    alone: Mapping[str, Recommending],
) -> dict[str, tuple[str, ...]]:
    """Item -> rules without whose change it would be as before, or whose change alone does it."""
    before, after = _slots(change.before), _slots(change.after)
    moved = [i for i in dict.fromkeys((*before, *after)) if before.get(i) != after.get(i)]
    needed: dict[str, list[str]] = {item: [] for item in moved}
    enough: dict[str, list[str]] = {item: [] for item in moved}
    for rule, engine in without.items():
        undone, done = (_slots(_list(one.answer(ask))) for one in (engine, alone[rule]))
        for item in moved:
            if _alike(item, undone, before, after):
                needed[item].append(rule)
            if _alike(item, done, after, before):
                enough[item].append(rule)
    found = {item: tuple(needed[item] or enough[item]) for item in moved}
    return {item: by for item, by in found.items() if by}


def _alike(
    item: str, slots: Mapping[str, int], wanted: Mapping[str, int], other: Mapping[str, int]
) -> bool:
    """Whether an item fares as wanted: in the same slot if it is in both lists, else in or out."""
    if item in wanted and item in other:
        return slots.get(item) == wanted[item]
    return (item in slots) == (item in wanted)


def _differ(old: RuleSet, new: RuleSet) -> tuple[str, ...]:
    """Ids of rules that only one set has, or that differ; those of the new set first."""
    tables = [
        {rule.id: table for rule, table in zip(each.rules, each.tables, strict=True)}
        for each in (new, old)
    ]
    ids = dict.fromkeys([*tables[0], *tables[1]])
    return tuple(name for name in ids if tables[0].get(name) != tables[1].get(name))


def _with_rule(rules: RuleSet, other: RuleSet, name: str) -> RuleSet:
    """Rules, of which one is as the other set has it: there, not there, or different."""
    place = next((n for n, rule in enumerate(rules.rules) if rule.id == name), len(rules))
    kept = [rule for rule in rules.rules if rule.id != name]
    return RuleSet([*kept[:place], *(r for r in other.rules if r.id == name), *kept[place:]])


def _slots(items: Sequence[str]) -> dict[str, int]:
    return {item: slot for slot, item in enumerate(items)}


def _list(evidence: Evidence) -> tuple[str, ...]:
    return tuple(served.item for served in evidence.answer.items)
