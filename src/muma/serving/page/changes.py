"""What an event changed: the user's features, and the list.

Both come from the evidence of two answers, so that they are what the ranker saw, whichever process
answered and however often the page is loaded.

Shape: N candidates, F features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from muma.ranking.groups import group_of
from muma.serving.page import words
from muma.serving.recommending import Evidence, ServedItem

MINE = "user."


@dataclass(frozen=True)
class FeatureChange:
    """A feature of the user, before and after.

    Attributes:
        column: its name.
        said: in words.
        before: value in words.
        after: likewise.
        direction: `up`, `down`, or `new` where it was unknown before or is now.
    """

    column: str
    said: str
    before: str
    after: str
    direction: str


@dataclass(frozen=True)
class Move:
    """Where a slot's item stood before.

    Attributes:
        before: its slot from 1, or None when it is new.
        by: slots it rose; below 0 it fell.
    """

    before: int | None
    by: int = 0


@dataclass(frozen=True)
class Changes:
    """Two answers compared.

    Attributes:
        features: those that changed.
        same: how many did not.
        moves: of each slot of the newer list.
        gone: items of the older list that are not in the newer, with their slots from 1.
    """

    features: tuple[FeatureChange, ...]
    same: int
    moves: tuple[Move, ...]
    gone: tuple[tuple[int, ServedItem], ...]

    @property
    def new(self) -> int:
        """Items that are new in the list."""
        return sum(move.before is None for move in self.moves)

    @property
    def moved(self) -> int:
        """Items that stand elsewhere."""
        return sum(bool(move.by) for move in self.moves)


def compare(before: Evidence, after: Evidence) -> Changes:
    """What is other in the later one."""
    features = list(_features(before, after))
    changed = tuple(change for change in features if change is not None)
    old, new = before.answer.items, after.answer.items
    stood = {one.item: slot for slot, one in enumerate(old, start=1)}
    stand = {one.item for one in new}
    moves = tuple(
        Move(stood[one.item], stood[one.item] - slot) if one.item in stood else Move(None)
        for slot, one in enumerate(new, start=1)
    )
    gone = tuple((stood[one.item], one) for one in old if one.item not in stand)
    return Changes(changed, len(features) - len(changed), moves, gone)


def _features(before: Evidence, after: Evidence) -> Iterator[FeatureChange | None]:
    """One for each feature of the user that both answers saw; None where it is the same."""
    if not len(before.value_NF) or not len(after.value_NF):
        return
    place = {name: f for f, name in enumerate(after.columns)}
    for f, name in enumerate(before.columns):
        if not name.startswith(MINE) or name not in place:
            continue
        old, new = float(before.value_NF[0, f]), float(after.value_NF[0, place[name]])
        if old == new or (np.isnan(old) and np.isnan(new)):
            yield None
        else:
            unknown = np.isnan(old) or np.isnan(new)
            direction = "new" if unknown else ("up" if new > old else "down")
            shown = words.value(name, old), words.value(name, new)
            yield FeatureChange(name, words.feature(name), *shown, direction)


@dataclass(frozen=True)
class Seen:
    """A feature of a candidate.

    Attributes:
        column: its name.
        said: in words.
        shown: its value in words.
    """

    column: str
    said: str
    shown: str


def by_group(columns: Sequence[str], value_F: np.ndarray) -> dict[str, list[Seen]]:
    """A candidate's features by their groups' words.

    Example:
        >>> by_group(["item.age_s"], np.array([90.0]))
        {'the item itself': [Seen(column='item.age_s', said='age', shown='1 min 30 s')]}
    """
    found: dict[str, list[Seen]] = {}
    for column, amount in zip(columns, value_F.tolist(), strict=True):
        seen = Seen(column, words.feature(column), words.value(column, amount))
        found.setdefault(words.group(group_of(column)), []).append(seen)
    return found
