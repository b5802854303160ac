"""The contract of ranking metrics: what they read (`RankedLists`) and what they give.

A metric is a class whose constructor takes a `Config`; a recipe names it by its import path. It has
either `per_user` (one number a user, then averaged with an interval) or `aggregate` (one number for
all lists together, such as catalogue coverage).

Ground truth is a `csr_array` [B, I] of positive gains; binary relevance is gain 1. An empty row is
a user without ground truth: accuracy metrics are NaN for it. An empty list for a user with ground
truth is a bad list: 0.

Shape: B users, K list length, I items of the catalogue, F item features.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, cast, runtime_checkable

import numpy as np
from scipy.sparse import csr_array

from muma.errors import DataError
from muma.topk import NO_ITEM


@dataclass(frozen=True)
class Context:
    """What metrics beyond accuracy need to know besides the lists.

    Attributes:
        popularity_I: interactions of each item in training (counts).
        item_features: [I, F], dense or sparse; an all-zero row is an item without features.
        watch_gain: [B, I], rows aligned with the truth; the stored entries are the items the user
            watched, the values their debiased watch gain (see `metrics.watch`).
    """

    popularity_I: np.ndarray | None = None
    item_features: np.ndarray | csr_array | None = None
    watch_gain: csr_array | None = None


@dataclass(frozen=True)
class RankedLists:
    """Lists, ground truth, and what follows from both, computed once and shared by all metrics.

    Attributes:
        item_BK: item indices, best first; -1 is an empty slot and counts as irrelevant.
        truth: positive gains [B, I].
        context: optional knowledge for metrics beyond accuracy.

    Raises:
        DataError: shapes disagree, an item index is out of range, a list names an item twice, or a
            gain is not positive and finite.

    Example:
        >>> lists = RankedLists(np.array([[2, 0]]), csr_array([[0.0, 0.0, 3.0]]))
        >>> lists.gain_BK.tolist()
        [[3.0, 0.0]]
    """

    item_BK: np.ndarray
    truth: csr_array
    context: Context = field(default_factory=Context)

    def __post_init__(self) -> None:
        _check(self.item_BK, self.truth)
        object.__setattr__(self, "truth", _canonical(self.truth))

    @property
    def n_items(self) -> int:
        """Items of the catalogue: the columns of the truth."""
        return dims(self.truth)[1]

    @cached_property
    def gain_BK(self) -> np.ndarray:
        """Gain of each listed item, 0 where it is not in the truth; float64 [B, K]."""
        return np.nan_to_num(lookup(self.truth, self.item_BK), copy=False, nan=0.0)

    @cached_property
    def hit_BK(self) -> np.ndarray:
        """Whether each listed item is in the truth; boolean [B, K]."""
        return self.gain_BK > 0

    @cached_property
    def relevant_B(self) -> np.ndarray:
        """Number of items in each user's truth; int64 [B]."""
        return np.diff(self.truth.indptr).astype(np.int64)

    def defined(self, value_B: np.ndarray) -> np.ndarray:
        """`value_B` with NaN for users without ground truth."""
        return np.where(self.relevant_B > 0, value_B, np.nan)


@runtime_checkable
class UserMetric(Protocol):
    """A metric that is defined for each user and averaged; `needs` names what it reads of `Context`."""

    name: str
    k: int
    needs: tuple[str, ...]

    def per_user(self, lists: RankedLists) -> np.ndarray:
        """Value for each user, float64 [B]; NaN where it is undefined."""
        ...


@runtime_checkable
class AggregateMetric(Protocol):
    """A metric of all lists together; `needs` names what it reads of `Context`."""

    name: str
    k: int
    needs: tuple[str, ...]

    def aggregate(self, lists: RankedLists) -> float:
        """The value; NaN when it is undefined."""
        ...


Metric = UserMetric | AggregateMetric


@runtime_checkable
class PointwiseMetric(Protocol):
    """A metric of labelled predictions, without lists."""

    name: str

    def pointwise(self, label_N: np.ndarray, score_N: np.ndarray) -> float:
        """The value; NaN when it is undefined."""
        ...


def dims(table: csr_array | np.ndarray) -> tuple[int, int]:
    """Rows and columns of a matrix, sparse or dense.

    Example:
        >>> dims(csr_array((2, 3)))
        (2, 3)
    """
    return cast("tuple[int, int]", table.shape)


def lookup(table: csr_array, item_BK: np.ndarray) -> np.ndarray:
    """Value of `table` [B, I] at each listed item, NaN where no entry is stored; float64 [B, K].

    Example:
        >>> lookup(csr_array([[0.0, 5.0]]), np.array([[1, 0, -1]])).tolist()
        [[5.0, nan, nan]]
    """
    table = _canonical(table)
    n_users, n_items = dims(table)
    value_BK = np.full(item_BK.shape, np.nan)
    if table.nnz == 0 or item_BK.size == 0:
        return value_BK
    # one spare column gives the empty slot -1 a key that no entry has
    start_B = np.arange(n_users, dtype=np.int64) * (n_items + 1) + 1
    key = np.repeat(start_B, np.diff(table.indptr)) + table.indices
    wanted_BK = start_B[:, None] + item_BK
    place_BK = np.searchsorted(key, wanted_BK)
    np.minimum(place_BK, len(key) - 1, out=place_BK)
    found_BK = key[place_BK] == wanted_BK
    value_BK[found_BK] = table.data[place_BK[found_BK]]
    return value_BK


def _canonical(table: csr_array) -> csr_array:
    if not table.has_canonical_format:
        table = table.copy()
        table.sum_duplicates()
    return table


def _check(item_BK: np.ndarray, truth: csr_array) -> None:
    if item_BK.ndim != 2 or not np.issubdtype(item_BK.dtype, np.integer):
        raise DataError(
            f"lists are {item_BK.dtype} of shape {item_BK.shape}; they must be integers [B, K]"
        )
    n_users, n_items = dims(truth)
    if len(item_BK) != n_users:
        raise DataError(f"{len(item_BK)} lists but {n_users} rows of truth; align them")
    if item_BK.size and (item_BK.min() < NO_ITEM or item_BK.max() >= n_items):
        raise DataError(
            f"lists hold items {item_BK.min()}..{item_BK.max()}; allowed are -1 (empty) and "
            f"0..{n_items - 1}, the columns of the truth"
        )
    sorted_BK = np.sort(item_BK, axis=1)
    twice_B = ((sorted_BK[:, 1:] == sorted_BK[:, :-1]) & (sorted_BK[:, 1:] >= 0)).any(axis=1)
    if twice_B.any():
        raise DataError(
            f"list {int(np.argmax(twice_B))} names an item twice; give each item at most once"
        )
    if truth.nnz and not (np.isfinite(truth.data) & (truth.data > 0)).all():
        raise DataError(
            "the truth holds a gain that is not positive and finite; drop such entries "
            "(csr_array.eliminate_zeros)"
        )
