"""Answer again from what was kept, and say every bit that differs."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields

from muma.errors import ArtifactError
from muma.serving.recommending import Answer, Evidence, Recommending, ServedItem

FREE = frozenset({"stages_us"})  # of an answer: what may differ, since time is not replayed
MOST_SHOWN = 50


@dataclass(frozen=True)
class Difference:
    """One place where the answers differ.

    Attributes:
        where: such as `items[2].propensity`.
        kept: as it was answered then.
        now: as it is answered now.
    """

    where: str
    kept: object
    now: object


@dataclass(frozen=True)
class Differences:
    """What a replay showed.

    Attributes:
        request_id: of the decision.
        found: places that differ, at most 50 of them.
        count: how many there are.
        missing: what is needed and not here, such as the version of a model; None when nothing is.
    """

    request_id: str
    found: tuple[Difference, ...]
    count: int
    missing: str | None = None

    @property
    def equal(self) -> bool:
        """Whether the answer came out again, bit for bit."""
        return self.missing is None and not self.count

    def __str__(self) -> str:
        if self.missing is not None:
            return f"{self.request_id}: cannot be replayed: {self.missing}"
        if self.equal:
            return f"{self.request_id}: the same, bit for bit"
        shown = [f"  {d.where}: was {d.kept!r}, is {d.now!r}" for d in self.found]
        more = self.count - len(shown)
        return "\n".join([
            f"{self.request_id}: {self.count} differences", *shown,
            *([f"  and {more} more"] if more else []),
        ])  # fmt: skip


def replay(evidence: Evidence, recommending: Recommending) -> Differences:
    """Answer again under the artifacts and rules of then, and compare with what was answered.

    Numbers are compared bit for bit (NaN equals the same NaN, 0.0 is not -0.0); only the times that
    the stages took are left out.

    Args:
        evidence: of the decision; what was personal must not be erased from it.
        recommending: the engine.
    """
    name = evidence.ask.request_id
    try:
        again = recommending.replay(evidence)
    except ArtifactError as error:
        return Differences(name, (), 0, str(error))
    found: list[Difference] = []
    _compare_answers(evidence.answer, again, found)
    propensities = tuple(item.propensity for item in again.items)
    _compare("propensity_K", tuple(evidence.propensity_K.tolist()), propensities, found)
    return Differences(name, tuple(found[:MOST_SHOWN]), len(found))


def _compare_answers(kept: Answer, now: Answer, found: list[Difference]) -> None:
    for each in fields(Answer):
        if each.name not in FREE and each.name != "items":
            _compare(each.name, getattr(kept, each.name), getattr(now, each.name), found)
    if len(kept.items) != len(now.items):
        found.append(Difference("number of items", len(kept.items), len(now.items)))
    for slot, (old, new) in enumerate(zip(kept.items, now.items, strict=False)):
        for name in ServedItem.__struct_fields__:
            _compare(f"items[{slot}].{name}", getattr(old, name), getattr(new, name), found)


def _compare(where: str, kept: object, now: object, found: list[Difference]) -> None:
    if isinstance(kept, Mapping) and isinstance(now, Mapping):
        for key in (*kept, *(k for k in now if k not in kept)):
            _compare(f"{where}[{key!r}]", kept.get(key), now.get(key), found)
    elif isinstance(kept, tuple) and isinstance(now, tuple) and len(kept) == len(now):
        for place, (old, new) in enumerate(zip(kept, now, strict=True)):
            _compare(f"{where}[{place}]", old, new, found)
    elif isinstance(kept, float) and isinstance(now, float):
        if struct.pack("<d", kept) != struct.pack("<d", now):
            found.append(Difference(where, kept, now))
    elif kept != now:
        found.append(Difference(where, kept, now))
