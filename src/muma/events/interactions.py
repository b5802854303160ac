"""Positive interactions of a log, in each user's order of time.

Order: user, then time, then the log's own order; equal times keep the order of the log.

Collapse: one act often leaves several events (click, play and like of one impression). Positive
events of the same user and item that share a `request_id`, or else the same timestamp, are one
interaction, at the time of the first and with the greatest weight.

Shape: U users, I items, E interactions, B asked users.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from pydantic import Field, field_validator
from scipy.sparse import csr_array

from muma.config import Config
from muma.errors import DataError
from muma.events.event import KINDS, EventLog

_last: list[tuple[weakref.ref[pl.LazyFrame], tuple[int, int, str], Interactions]] = []
"""What was read last: the models of one training all read the same."""
POSITIVE = (
    "click",
    "play",
    "long_view",
    "like",
    "share",
    "comment",
    "follow",
    "conversion",
    "rating",
    "purchase",
)


class Signal(Config):
    """Which events say that a user wanted an item.

    Attributes:
        kinds: weight of each kind that counts, above 0; kinds left out never count.
        min_value: ratings whose `value` is lower, or missing, do not count; None counts them all.
    """

    kinds: dict[str, float] = Field(default_factory=lambda: dict.fromkeys(POSITIVE, 1.0))
    min_value: float | None = None

    @field_validator("kinds")
    @classmethod
    def _known(cls, kinds: dict[str, float]) -> dict[str, float]:
        if unknown := set(kinds) - set(KINDS):
            raise ValueError(f"unknown kinds {sorted(unknown)}; allowed: {', '.join(KINDS)}")
        if wrong := [kind for kind, weight in kinds.items() if weight <= 0]:
            raise ValueError(f"the weight of {wrong[0]!r} must be above 0; leave it out instead")
        return kinds


@dataclass(frozen=True)
class Interactions:
    """Interactions ordered by (user, time, order in the log).

    Attributes:
        user_E: dense user indices, int64, ascending.
        item_E: dense item indices, int64.
        timestamp_E: UTC microseconds, int64.
        weight_E: float32, above 0.
        n_users: U.
        n_items: I.
    """

    user_E: np.ndarray
    item_E: np.ndarray
    timestamp_E: np.ndarray
    weight_E: np.ndarray
    n_users: int
    n_items: int

    def __len__(self) -> int:
        return len(self.user_E)

    @cached_property
    def indptr(self) -> np.ndarray:
        """Where each user's interactions begin, int64 [U + 1]."""
        return np.searchsorted(self.user_E, np.arange(self.n_users + 1))

    @cached_property
    def ages(self) -> np.ndarray:
        """How many interactions of the same user come later, int64 [E]; the newest has 0."""
        return self.indptr[self.user_E + 1] - 1 - np.arange(len(self))

    @cached_property
    def counts(self) -> np.ndarray:
        """Interactions of each item, int64 [I]."""
        return np.bincount(self.item_E, minlength=self.n_items)

    @property
    def histories(self) -> list[np.ndarray]:
        """Item indices of each user, oldest first; U arrays."""
        return np.split(self.item_E, self.indptr[1:-1])

    def matrix(self, *, binary: bool = True) -> csr_array:
        """Float32 [U, I]: 1 where the user took the item, or the greatest weight of the pair."""
        return self.spread(np.ones_like(self.weight_E) if binary else self.weight_E)

    def spread(self, value_E: np.ndarray) -> csr_array:
        """Float32 [U, I] with the greatest `value_E` of each pair of user and item."""
        order = np.lexsort((value_E, self.item_E, self.user_E))
        user, item = self.user_E[order], self.item_E[order]
        last = np.ones(len(order), dtype=bool)
        last[:-1] = (user[1:] != user[:-1]) | (item[1:] != item[:-1])
        cells = (value_E[order][last].astype(np.float32), (user[last], item[last]))
        return csr_array(cells, shape=(self.n_users, self.n_items))

    def within(self, item_F: np.ndarray) -> Interactions:
        """Only the interactions with the items `item_F`, renumbered by their place in it."""
        column_I = np.full(self.n_items, -1)
        column_I[item_F] = np.arange(len(item_F))
        column_E = column_I[self.item_E]
        keep = column_E >= 0
        arrays = (self.user_E, column_E, self.timestamp_E, self.weight_E)
        user, item, timestamp, weight = (array[keep] for array in arrays)
        return Interactions(user, item, timestamp, weight, self.n_users, len(item_F))


def interactions(log: EventLog, signal: Signal | None = None) -> Interactions:
    """Read the positive interactions of `log`.

    Args:
        log: any log; only six columns of its events are loaded.
        signal: what counts as positive.

    Example:
        >>> from muma.testing.logs import tiny_log
        >>> interactions(tiny_log({0: [2, 1], 1: [0]})).item_E.tolist()
        [2, 1, 0]
    """
    signal = signal or Signal()
    key = (log.n_users, log.n_items, signal.model_dump_json())
    for of, known, found in _last:
        if of() is log.events and known == key:
            return found
    found = _read(log, signal)
    _last[:] = [(weakref.ref(log.events), key, found)]
    return found


def _read(log: EventLog, signal: Signal) -> Interactions:
    weight = (
        pl.col("kind")
        .cast(pl.String)
        .replace_strict(signal.kinds, default=None, return_dtype=pl.Float32)
    )
    events = log.events.with_columns(weight=weight).filter(pl.col("weight").is_not_null())
    if signal.min_value is not None:
        low = pl.col("value").fill_null(-np.inf) < signal.min_value
        events = events.filter(~((pl.col("kind") == "rating") & low))
    frame = _collapsed(
        events.select("user_id", "item_id", "timestamp", "weight", "request_id").collect()
    ).sort("user_id", "timestamp", maintain_order=True)
    return Interactions(
        frame["user_id"].cast(pl.Int64).to_numpy(),
        frame["item_id"].cast(pl.Int64).to_numpy(),
        frame["timestamp"].to_numpy(),
        frame["weight"].to_numpy(),
        log.n_users,
        log.n_items,
    )


def seen(
    log: EventLog, users: np.ndarray | Sequence[int], signal: Signal | None = None
) -> csr_array:
    """Boolean [B, I]: the items each of `users` has taken in `log`, rows aligned with `users`.

    Raises:
        DataError: a user index is outside the log's vocabulary.

    Example:
        >>> from muma.testing.logs import tiny_log
        >>> seen(tiny_log({0: [2, 1], 1: [0]}), [1, 0]).toarray().astype(int).tolist()
        [[1, 0, 0], [0, 1, 1]]
    """
    user_B = known_users(users, log.n_users)
    asked = log.where(pl.col("user_id").is_in(np.unique(user_B).tolist()))
    return interactions(asked, signal).matrix()[user_B].astype(bool)


def known_users(users: np.ndarray | Sequence[int], n_users: int) -> np.ndarray:
    """User indices as int64 [B].

    Raises:
        DataError: an index is outside [0, n_users), or the input is not a vector of integers.
    """
    user_B = np.asarray(users)
    if user_B.ndim != 1 or (len(user_B) and not np.issubdtype(user_B.dtype, np.integer)):
        raise DataError(f"users must be a vector of integers, got {user_B.dtype} {user_B.shape}")
    user_B = user_B.astype(np.int64)
    wrong_B = (user_B < 0) | (user_B >= n_users)
    if wrong_B.any():
        raise DataError(
            f"user index {user_B[wrong_B][0]} is outside [0, {n_users}); "
            "translate raw ids with the log's user_ids.encode"
        )
    return user_B


def _collapsed(frame: pl.DataFrame) -> pl.DataFrame:
    keys = ["user_id", "item_id"]
    request = pl.col("request_id")
    if frame["request_id"].null_count() < frame.height:
        alone = pl.when(request.is_null()).then(pl.int_range(pl.len())).alias("alone")
        frame = frame.with_columns(alone)
        frame = _first(frame, [*keys, "request_id", "alone"], pl.col("timestamp").first())
    return _first(frame, [*keys, "timestamp"])


def _first(frame: pl.DataFrame, keys: list[str], *kept: pl.Expr) -> pl.DataFrame:
    return frame.group_by(keys, maintain_order=True).agg(*kept, pl.col("weight").max())
