"""Scores from a history handed in, not from the log: what a service knows of a user this second.

A model that is `Live` scores the same for a history in hand as for a user of its log with that history.

Shape: L interactions, I items of the vocabulary, F fitted items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numba
import numpy as np

from muma.events.event import KINDS
from muma.features.feature import Sequences


@dataclass(frozen=True)
class History:
    """Positive interactions of one user, oldest first.

    Attributes:
        item_L: dense items, int64.
        weight_L: float32, above 0.
        sequence: the same events as an encoder reads them, [1, L]; None where none does.
        at: the moment, UTC microseconds.
    """

    item_L: np.ndarray
    weight_L: np.ndarray
    sequence: Sequences | None = None
    at: int = 0

    def __len__(self) -> int:
        return len(self.item_L)

    def within(self, column_I: np.ndarray) -> History:
        """Only interactions with items that have a column, renumbered; int64 [I], -1 without one."""
        column_L, weight_L = _within(self.item_L, self.weight_L, column_I)
        return History(column_L, weight_L, self.sequence, self.at)

    @property
    def ages(self) -> np.ndarray:
        """How many interactions come later, int64 [L]; the newest has 0."""
        return np.arange(len(self))[::-1]


@runtime_checkable
class Live(Protocol):
    """A candidate model that can score a history it was not fitted on."""

    def score_history(self, history: History) -> np.ndarray:
        """Score the whole catalogue: float32 [I], -inf for items that cannot be proposed."""
        ...


def greatest(item_L: np.ndarray, value_L: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Different items, ascending, and the greatest value of each, as `Interactions.spread` has them.

    Example:
        >>> greatest(np.array([4, 2, 4]), np.array([1.0, 0.5, 3.0]))[1].tolist()
        [0.5, 3.0]
    """
    return _greatest(item_L, value_L)


@numba.njit(cache=True, nogil=True)
def _greatest(item_L: np.ndarray, value_L: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    different_L, best_L = item_L.copy(), np.empty(len(item_L), dtype=np.float32)
    count = 0
    for place in np.argsort(item_L, kind="mergesort"):
        value = np.float32(value_L[place])
        if count == 0 or different_L[count - 1] != item_L[place]:
            different_L[count], best_L[count] = item_L[place], value
            count += 1
        else:
            best_L[count - 1] = max(best_L[count - 1], value)
    return different_L[:count], best_L[:count]


@numba.njit(cache=True, nogil=True)
def _within(
    item_L: np.ndarray, weight_L: np.ndarray, column_I: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    column_L, kept_L, count = np.empty_like(item_L), np.empty_like(weight_L), 0
    for place in range(len(item_L)):
        item = item_L[place]
        if item < len(column_I) and column_I[item] >= 0:
            column_L[count], kept_L[count] = column_I[item], weight_L[place]
            count += 1
    return column_L[:count], kept_L[:count]


def history_of(sequence: Sequences, kinds: Mapping[str, float], *, at: int = 0) -> History:
    """The positive interactions among a user's newest events.

    Events in a row of one item are one interaction, with the greatest weight: one act leaves a click, a
    play and a like.

    Args:
        sequence: [1, L], oldest first, padded on the left.
        kinds: weight of each kind that counts.
        at: the moment, UTC microseconds.
    """
    weight_K = np.array([kinds.get(kind, 0.0) for kind in KINDS], dtype=np.float32)
    item_L, weight_L = _positive(
        sequence.item_BL[0], sequence.kind_BL[0], sequence.mask_BL[0], weight_K
    )
    return History(item_L, weight_L, sequence, at)


@numba.njit(cache=True, nogil=True)
def _positive(
    item_L: np.ndarray, kind_L: np.ndarray, mask_L: np.ndarray, weight_K: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    found_L, best_L = np.empty_like(item_L), np.empty(len(item_L), dtype=np.float32)
    count = 0
    for place in range(len(item_L)):
        item, kind = item_L[place], kind_L[place]
        if not mask_L[place] or item < 0 or not 0 <= kind < len(weight_K) or weight_K[kind] <= 0:
            continue
        if count > 0 and found_L[count - 1] == item:
            best_L[count - 1] = max(best_L[count - 1], weight_K[kind])
            continue
        found_L[count], best_L[count] = item, weight_K[kind]
        count += 1
    return found_L[:count], best_L[:count]
