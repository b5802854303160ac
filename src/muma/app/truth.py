"""What the test events say: whom to measure, what is relevant, what must not be listed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from muma.errors import DataError
from muma.evaluation.metric import Context
from muma.evaluation.metrics.watch import DurationQuantile
from muma.events.event import EventLog
from muma.events.interactions import Signal, interactions


@dataclass(frozen=True)
class Task:
    """A ranking task over the whole catalogue.

    Attributes:
        user_B: users with at least one relevant item.
        truth: gains [B, I], rows aligned with `user_B`.
        exclude: boolean [B, I], or None when nothing is masked.
        masked: relevant pairs that were dropped since the user had taken the item before.
    """

    user_B: np.ndarray
    truth: csr_array
    exclude: csr_array | None
    masked: int

    def rows(self, keep_B: np.ndarray) -> Task:
        """The same task for some of its users; `keep_B` is a mask or an index."""
        exclude = None if self.exclude is None else self.exclude[keep_B]
        return Task(self.user_B[keep_B], self.truth[keep_B], exclude, self.masked)


def task_of(
    history: EventLog, later: EventLog, *, target: Signal, taken: Signal, mask_seen: bool
) -> Task:
    """Build the task of recommending, after `history`, what `later` shows.

    Args:
        history: what the models were fitted on.
        later: events to predict.
        target: which of them count as relevant, with what gain.
        taken: which events of `history` make an item "seen".
        mask_seen: leave seen items out of lists and of the truth.

    Raises:
        DataError: no user has a relevant item.
    """
    truth = interactions(later, target).matrix(binary=False)
    wanted = truth.nnz
    seen = interactions(history, taken).matrix() if mask_seen else None
    if seen is not None:
        truth = csr_array(truth - truth.multiply(seen > 0))
        truth.eliminate_zeros()
    user_B = np.flatnonzero(np.diff(truth.indptr))
    if not len(user_B):
        raise DataError(
            f"no user has a relevant later event of the kinds {', '.join(target.kinds)}; "
            "change evaluation.target or the split"
        )
    exclude = None if seen is None else csr_array(seen[user_B].astype(bool))
    return Task(user_B, csr_array(truth[user_B]), exclude, wanted - truth.nnz)


def context_of(history: EventLog, later: EventLog, user_B: np.ndarray, *, taken: Signal) -> Context:
    """What metrics beyond accuracy need: popularity, item features, debiased watch gains."""
    return Context(
        popularity_I=interactions(history, taken).counts,
        item_features=tag_features(history),
        watch_gain=_watch_gain(history, later, user_B),
    )


def tag_features(log: EventLog) -> csr_array | None:
    """One-hot tags (or categories) of the items, float64 [I, F]; None when no item has any."""
    tags = pl.when(pl.col("tags").list.len() > 0).then("tags")
    filled = tags.otherwise(pl.concat_list("category"))
    pairs = (
        log.items.select("item_id", filled.alias("tag"))
        .explode("tag")
        .drop_nulls()
        .unique(maintain_order=True)
        .collect()
    )
    if pairs.is_empty():
        return None
    column = pairs.get_column("tag").rank("dense").to_numpy() - 1
    cells = (np.ones(pairs.height), (pairs.get_column("item_id").to_numpy(), column))
    return csr_array(cells, shape=(log.n_items, int(column.max()) + 1))


def _watch_gain(history: EventLog, later: EventLog, user_B: np.ndarray) -> csr_array | None:
    fit, test = (_plays(log, ("user_id", "item_id")) for log in (history, later))
    if fit.is_empty() or test.is_empty():
        return None
    model = DurationQuantile().fit(*_times(fit))
    gain = pl.Series("gain", model.transform(*_times(test)))
    best = (
        test.with_columns(gain)
        .filter(pl.col("gain").is_finite())
        .group_by("user_id", "item_id")
        .agg(pl.col("gain").max())
    )
    cells = (
        best.get_column("gain").to_numpy(),
        (best.get_column("user_id").to_numpy(), best.get_column("item_id").to_numpy()),
    )
    return csr_array(csr_array(cells, shape=(later.n_users, later.n_items))[user_B])


def _plays(log: EventLog, keys: Sequence[str]) -> pl.DataFrame:
    known = pl.col("dwell_ms").is_not_null() & (pl.col("item_duration_ms") > 0)
    return log.events.filter(known).select(*keys, "dwell_ms", "item_duration_ms").collect()


def _times(plays: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    columns = ("dwell_ms", "item_duration_ms")
    watch, duration = (plays.get_column(c).cast(pl.Float64).to_numpy() for c in columns)
    return watch, duration
