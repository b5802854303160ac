"""Rows that rankers learn from and are judged on: what was shown, and what sources would propose.

Shape: N rows, ordered by fold and list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from muma.app.folds import Fold
from muma.candidates.candidate import CandidateModel
from muma.events.event import EventLog
from muma.events.interactions import Signal, interactions
from muma.topk import NO_ITEM

NO_FOLD = -1


@dataclass(frozen=True)
class Judged:
    """Rows of (user, item, moment) with their list, fold and labels.

    Shape:
        user_N, item_N: int64 dense indices. at_N: int64 microseconds. fold_N, group_N: int64.
        labels: name -> float64 [N], 0 or 1.
    """

    user_N: np.ndarray
    item_N: np.ndarray
    at_N: np.ndarray
    fold_N: np.ndarray
    group_N: np.ndarray
    labels: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.user_N)

    def rows(self, keep_N: np.ndarray) -> Judged:
        """Some of the rows."""
        return Judged(
            self.user_N[keep_N], self.item_N[keep_N], self.at_N[keep_N], self.fold_N[keep_N],
            self.group_N[keep_N],
            {name: label_N[keep_N] for name, label_N in self.labels.items()},
        )  # fmt: skip

    @classmethod
    def joined(cls, parts: list[Judged]) -> Judged:
        """Parts one below the other; their lists stay apart."""
        first, group = 0, []
        for part in parts:
            group.append(part.group_N + first)
            first += int(part.group_N.max()) + 1 if len(part) else 0
        user_N, item_N, at_N, fold_N = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("user_N", "item_N", "at_N", "fold_N")
        )
        labels = {
            name: np.concatenate([part.labels[name] for part in parts]) for name in parts[0].labels
        }
        return Judged(user_N, item_N, at_N, fold_N, np.concatenate(group), labels)

    def frame(self) -> pl.DataFrame:
        """As `muma.features.offline.as_of` wants it."""
        ids = {"user_id": self.user_N, "item_id": self.item_N, "timestamp": self.at_N}
        return pl.DataFrame(ids)


def impressions(log: EventLog, folds: list[Fold], labels: Mapping[str, Signal]) -> Judged:
    """What was shown, each at its own moment, with what came of it.

    A label is 1 where an event of the same user and item that passes its signal shares the
    impression's request id, or, where there is none, its moment. Lists are the impressions of a user within a fold.
    """
    true = ~pl.col("time_inferred").fill_null(False)
    moment = pl.coalesce("request_id", pl.col("timestamp").cast(pl.String))
    act = pl.concat_str("user_id", "item_id", moment, separator="/").alias("act")
    shown = log.events.filter(true & (pl.col("kind") == "impression"))
    base = shown.select("user_id", "item_id", "timestamp", "request_id")
    marked = base.with_columns(act)
    for name, signal in labels.items():
        hits = log.events.filter(_passes(signal)).select(act)
        marked = marked.join(
            hits.unique().with_columns(pl.lit(1.0).alias(f"label {name}")), on="act", how="left"
        )
    table = marked.collect()
    at_N = table["timestamp"].to_numpy().astype(np.int64)
    starts = np.array([fold.start for fold in folds])
    fold_N = np.searchsorted(starts, at_N, side="right") - 1  # NO_FOLD before the first
    user_N = table["user_id"].to_numpy().astype(np.int64)
    order_N = np.lexsort((at_N, user_N, fold_N))
    order_N = order_N[fold_N[order_N] >= 0]
    found = {
        name: table[f"label {name}"].fill_null(0.0).to_numpy()[order_N].astype(np.float64)
        for name in labels
    }
    item_N = table["item_id"].to_numpy().astype(np.int64)[order_N]
    group_N = _lists(fold_N[order_N], user_N[order_N])
    return Judged(
        user_N[order_N], item_N, at_N[order_N], fold_N[order_N].astype(np.int64), group_N, found
    )


@dataclass(frozen=True)
class Proposing:
    """How lists are made.

    Attributes:
        pool: items that each source proposes.
        users: most users of a training fold; users are drawn from those who take something.
        taken: what makes an item seen; None proposes seen items too.
        target: what makes a proposed item wanted.
    """

    pool: int
    users: int
    taken: Signal | None
    target: Signal


def proposed(
    log: EventLog,
    number: int,
    fold: Fold,
    sources: Mapping[str, CandidateModel],
    how: Proposing,
    rng: np.random.Generator,
) -> Judged:
    """What the sources would propose at the begin of a fold, and whether the user took it then.

    Lists without a wanted item teach nothing and are left out of all folds but the test fold.

    Args:
        log: the whole log.
        number: the fold's place.
        fold: the piece of time.
        sources: fitted on what was known before it.
        how: how lists are made.
        rng: draws users.
    """
    truth = interactions(log.between(fold.start, fold.end), how.target).matrix()
    known = log.between(None, fold.known_before)
    seen = None
    if how.taken is not None:
        seen = csr_array(interactions(known, how.taken).matrix().astype(bool))
    if seen is not None:
        truth = csr_array(truth - truth.multiply(seen))
        truth.eliminate_zeros()
    users = np.flatnonzero(np.diff(truth.indptr))
    if fold.role != "test" and len(users) > how.users:
        users = np.sort(rng.choice(users, how.users, replace=False))
    user_N, item_N = _union(users, sources, how.pool, seen)
    wanted_N = np.asarray(truth[user_N, item_N]).ravel() > 0 if len(user_N) else np.zeros(0, bool)
    group_N = _lists(np.full(len(user_N), number), user_N)
    if fold.role != "test" and len(user_N):
        keep_N = np.bincount(group_N, weights=wanted_N)[group_N] > 0
        user_N, item_N, wanted_N = user_N[keep_N], item_N[keep_N], wanted_N[keep_N]
        group_N = _lists(np.full(len(user_N), number), user_N)
    rows = len(user_N)
    return Judged(
        user_N, item_N, np.full(rows, fold.start), np.full(rows, number), group_N,
        {"taken": wanted_N.astype(np.float64)},
    )  # fmt: skip


def _union(
    users: np.ndarray, sources: Mapping[str, CandidateModel], pool: int, seen: csr_array | None
) -> tuple[np.ndarray, np.ndarray]:
    """Different items of all sources' lists, by user and item."""
    exclude = None if seen is None else csr_array(seen[users])
    pairs = []
    for source in sources.values():
        found = source.propose(users, pool, exclude=exclude).item_BN
        user_BN = np.broadcast_to(users[:, None], found.shape)
        pairs.append(np.stack([user_BN[found != NO_ITEM], found[found != NO_ITEM]]))
    both = np.unique(np.concatenate(pairs, axis=1), axis=1)
    return both[0], both[1]


def _lists(fold_N: np.ndarray, user_N: np.ndarray) -> np.ndarray:
    """A number for each run of equal (fold, user)."""
    if not len(user_N):
        return np.zeros(0, dtype=np.int64)
    new_N = (np.diff(fold_N, prepend=-1) != 0) | (np.diff(user_N, prepend=-1) != 0)
    return np.cumsum(new_N) - 1


def _passes(signal: Signal) -> pl.Expr:
    wanted = pl.col("kind").is_in(list(signal.kinds))
    if signal.min_value is None:
        return wanted
    return wanted & ((pl.col("kind") != "rating") | (pl.col("value") >= signal.min_value))
