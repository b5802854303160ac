"""What other rules would change: the same requests, answered under both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from muma.progress import track
from muma.serving.recommending import Ask, Evidence, Recommending
from muma.serving.rules.ruleset import RuleSet


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
    """

    request_id: str
    user: str | None
    before: tuple[str, ...]
    after: tuple[str, ...]

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
    """

    changes: tuple[Change, ...]
    touched: Mapping[tuple[str, str], tuple[int, int]]

    @property
    def changed(self) -> int:
        """Requests whose list differs."""
        return sum(change.before != change.after for change in self.changes)


def preview(
    recommending: Callable[[RuleSet], Recommending],
    old: RuleSet,
    new: RuleSet,
    asks: Iterable[Ask],
) -> Preview:
    """Answer every request under both sets; equal request ids make all draws the same.

    Args:
        recommending: an engine under some rules; it must not write to the evidence log.
        old: the rules in force.
        new: the rules that are proposed.
        asks: requests to try.
    """
    engines = recommending(old), recommending(new)
    counts: tuple[Counter[tuple[str, str]], ...] = (Counter(), Counter())
    changes = []
    for ask in track(list(asks), label="requests"):
        evidence = [engine.answer(ask) for engine in engines]
        for told, count in zip(evidence, counts, strict=True):
            for hit in told.hits:
                count[hit.rule, hit.action] += hit.count
        changes.append(Change(ask.request_id, ask.user, _list(evidence[0]), _list(evidence[1])))
    keys = dict.fromkeys([*counts[0], *counts[1]])
    return Preview(tuple(changes), {key: (counts[0][key], counts[1][key]) for key in keys})


def _list(evidence: Evidence) -> tuple[str, ...]:
    return tuple(served.item for served in evidence.answer.items)
