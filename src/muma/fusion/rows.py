"""The raw rows of a source: which entities have data, and the data, dense or of any length.

Shape: R entities with data, E entries of all their lists together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Rows:
    """Data of R entities.

    Attributes:
        index_R: dense index of each entity, int64, ascending and distinct.
        dense: name -> array [R, ...].
        length_R: entries of each entity's list, int64; None when there are no lists.
        ragged: name -> array [E], the lists one after another.
    """

    index_R: np.ndarray
    dense: Mapping[str, np.ndarray] = field(default_factory=dict)
    length_R: np.ndarray | None = None
    ragged: Mapping[str, np.ndarray] = field(default_factory=dict)

    def take(self, keep_R: np.ndarray) -> Rows:
        """Only the entities where the boolean `keep_R` is true."""
        if self.length_R is None:
            return Rows(self.index_R[keep_R], {k: v[keep_R] for k, v in self.dense.items()})
        keep_E = np.repeat(keep_R, self.length_R)
        return Rows(
            self.index_R[keep_R],
            {name: array[keep_R] for name, array in self.dense.items()},
            self.length_R[keep_R],
            {name: array[keep_E] for name, array in self.ragged.items()},
        )


def merged(old: Rows, new: Rows) -> Rows:
    """The rows of `new`, and those of `old` whose entity `new` has nothing about.

    Example:
        >>> old = Rows(np.array([0, 2]), {"x": np.array([1.0, 2.0])})
        >>> both = merged(old, Rows(np.array([1, 2]), {"x": np.array([7.0, 8.0])}))
        >>> both.index_R.tolist(), both.dense["x"].tolist()
        ([0, 1, 2], [1.0, 7.0, 8.0])
    """
    old = old.take(~np.isin(old.index_R, new.index_R))
    index_R = np.concatenate([old.index_R, new.index_R])
    order_R = np.argsort(index_R)
    dense = {
        name: np.concatenate([old.dense[name], array])[order_R] for name, array in new.dense.items()
    }
    if old.length_R is None or new.length_R is None:
        return Rows(index_R[order_R], dense)
    length_R = np.concatenate([old.length_R, new.length_R])
    entity_E = np.repeat(index_R, length_R)
    order_E = np.argsort(entity_E, kind="stable")
    ragged = {
        name: np.concatenate([old.ragged[name], array])[order_E]
        for name, array in new.ragged.items()
    }
    return Rows(index_R[order_R], dense, length_R[order_R], ragged)


def listed(entity_E: np.ndarray, **columns: np.ndarray) -> Rows:
    """Rows from entries in any order; each entity's entries keep theirs.

    Example:
        >>> rows = listed(np.array([4, 1, 4]), item=np.array([7, 8, 9]))
        >>> rows.index_R.tolist(), rows.length_R.tolist(), rows.ragged["item"].tolist()
        ([1, 4], [1, 2], [8, 7, 9])
    """
    order_E = np.argsort(entity_E, kind="stable")
    index_R, length_R = np.unique(entity_E, return_counts=True)
    ragged = {name: array[order_E] for name, array in columns.items()}
    return Rows(index_R.astype(np.int64), {}, length_R.astype(np.int64), ragged)
