"""Histories of all users as ragged arrays, in the order of `events.interactions`.

Training cuts windows out of them; evaluation and serving ask for the newest L events before a
moment, in the same `Sequences` that the online engine keeps.

Completion is conditional on duration, so that short items get no free ride: the share of dwell times
of items of about the same length (a bucket of log2 seconds) that lie below this one (Zhan et al.,
"Deconfounding duration bias in watch-time prediction", KDD 2022).

Shape: U users, I items, E events, B asked users, L events of a sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import polars as pl

from muma.errors import DataError
from muma.events.event import KINDS, EventLog
from muma.events.interactions import Interactions, Signal, interactions
from muma.features.feature import Sequences

BUCKETS = 24  # of log2(seconds): a second to half a year


@dataclass(frozen=True)
class Histories:
    """Events ordered by (user, time, order in the log).

    Attributes:
        user_E: dense user indices, int64, ascending.
        item_E: dense item indices, int64.
        time_E: UTC microseconds, int64.
        kind_E: codes into `events.stream.ACTIONS`, int64.
        domain_E: codes into `events.stream.DOMAINS`, int64.
        dwell_E: milliseconds, int64; -1 when there is none.
        duration_E: the item's length in milliseconds, int64; -1 when it is unknown.
        skipped_E: item shown between the previous event and this one that was not taken, int64; -1
            when there is none.
        n_users: U.
        n_items: I.
    """

    user_E: np.ndarray
    item_E: np.ndarray
    time_E: np.ndarray
    kind_E: np.ndarray
    domain_E: np.ndarray
    dwell_E: np.ndarray
    duration_E: np.ndarray
    skipped_E: np.ndarray
    n_users: int
    n_items: int

    def __len__(self) -> int:
        return len(self.user_E)

    @cached_property
    def indptr(self) -> np.ndarray:
        """Where each user's events begin, int64 [U + 1]."""
        return np.searchsorted(self.user_E, np.arange(self.n_users + 1))

    @cached_property
    def counts(self) -> np.ndarray:
        """Events of each item, int64 [I]."""
        return np.bincount(self.item_E, minlength=self.n_items)

    def spans(
        self, user_B: np.ndarray, length: int, *, before_B: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """First and one-past-last event of each user's newest `length` events, int64 [B] each.

        Args:
            user_B: dense user indices.
            length: L.
            before_B: int64 microseconds; only events with a smaller time count.
        """
        first_B, last_B = self.indptr[user_B], self.indptr[user_B + 1]
        if before_B is not None:
            last_B = np.array(
                [
                    first + np.searchsorted(self.time_E[first:last], before)
                    for first, last, before in zip(first_B, last_B, before_B, strict=True)
                ],
                dtype=np.int64,
            )
        return np.maximum(first_B, last_B - length), last_B

    def cut(self, first_B: np.ndarray, last_B: np.ndarray, length: int) -> Sequences:
        """Events `first_B` to `last_B` (exclusive) as sequences of `length`, padded on the left."""
        place_BL, mask_BL = places(first_B, last_B, length)
        if not len(self):
            place_BL = np.empty_like(place_BL)
            return empty_sequences(mask_BL)

        def taken(value_E: np.ndarray, padding: int) -> np.ndarray:
            return np.where(mask_BL, value_E[place_BL], padding)

        return Sequences(
            taken(self.item_E, -1),
            taken(self.time_E, 0),
            taken(self.kind_E, -1),
            taken(self.domain_E, -1),
            taken(self.dwell_E, -1),
            mask_BL,
        )

    def sequences(
        self, user_B: np.ndarray, length: int, *, before_B: np.ndarray | None = None
    ) -> Sequences:
        """The newest `length` events of each user before a moment; see `spans`.

        Example:
            >>> from muma.testing.logs import tiny_log
            >>> histories(tiny_log({0: [2, 1], 1: [0]})).sequences(np.array([1, 0]), 2).item_BL.tolist()
            [[-1, 0], [2, 1]]
        """
        first_B, last_B = self.spans(user_B, length, before_B=before_B)
        longest = int((last_B - first_B).max(initial=1))
        return self.cut(first_B, last_B, max(1, min(length, longest)))

    def joined(self, later: Histories) -> tuple[Histories, np.ndarray]:
        """These events and later ones, and which are the later ones (bool [E]).

        Equal times put the later log's events last.
        """
        both = {
            field.name: np.concatenate([getattr(self, field.name), getattr(later, field.name)])
            for field in fields(self)
            if field.name.endswith("_E")
        }
        order = np.lexsort((both["time_E"], both["user_E"]))
        all_events = Histories(
            **{name: value_E[order] for name, value_E in both.items()},
            n_users=max(self.n_users, later.n_users),
            n_items=max(self.n_items, later.n_items),
        )
        return all_events, order >= len(self)


def histories(log: EventLog, signal: Signal | None = None) -> Histories:
    """Read the positive interactions of `log`, with their kind, dwell and what was passed over.

    Args:
        log: any log.
        signal: what counts as positive.
    """
    signal = signal or Signal()
    events = interactions(log, signal)
    found = _details(log, signal, events)
    return Histories(
        user_E=events.user_E,
        item_E=events.item_E,
        time_E=events.timestamp_E,
        kind_E=found["kind"],
        domain_E=found["domain"],
        dwell_E=found["dwell_ms"],
        duration_E=found["item_duration_ms"],
        skipped_E=_skipped(log, events),
        n_users=events.n_users,
        n_items=events.n_items,
    )


def completion_quantiles(dwell_E: np.ndarray, duration_E: np.ndarray) -> np.ndarray:
    """Duration-conditional completion of each event, float32 [E] in (0, 1); NaN without dwell.

    Mid-ranks: equal dwell times share a quantile. Events whose item's length is unknown are ranked
    among themselves.

    Example:
        >>> dwell_E, duration_E = np.array([1, 3, 900, 500, -1]), np.array([4, 4, 60, 60, 4]) * 1000
        >>> completion_quantiles(dwell_E, duration_E).tolist()
        [0.25, 0.75, 0.75, 0.25, nan]
    """
    bucket_E = np.where(
        duration_E > 0, np.clip(np.log2(np.maximum(duration_E, 1) / 1e3), 0, BUCKETS - 1), -1
    ).astype(np.int64)
    frame = pl.DataFrame({"bucket": bucket_E, "dwell": dwell_E})
    known = pl.col("dwell") >= 0
    dwell = pl.when(known).then("dwell")
    share = (dwell.rank("average").over("bucket") - 0.5) / known.sum().over("bucket")
    quantile = frame.select(share.cast(pl.Float32).fill_null(np.nan)).to_series()
    return quantile.to_numpy().copy()


def places(first_B: np.ndarray, last_B: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Index of the event at each position, int64 [B, L] (0 for padding), and the mask."""
    place_BL = last_B[:, None] - length + np.arange(length)
    mask_BL = place_BL >= first_B[:, None]
    return np.where(mask_BL, place_BL, 0), mask_BL


def empty_sequences(mask_BL: np.ndarray) -> Sequences:
    """Sequences of nothing but padding.

    Raises:
        DataError: the mask says that there are events.
    """
    if mask_BL.any():
        raise DataError("events were asked for, but the histories hold none")
    none_BL = np.full(mask_BL.shape, -1, dtype=np.int64)
    return Sequences(none_BL, np.zeros_like(none_BL), none_BL, none_BL, none_BL, mask_BL)


def _details(log: EventLog, signal: Signal, events: Interactions) -> Mapping[str, np.ndarray]:
    """Kind, domain, dwell and duration of each interaction, from the events that make it up."""
    ids, most = ["user_id", "item_id"], pl.col("dwell_ms", "item_duration_ms").max()
    first = pl.col("kind", "domain").first()
    kinds = [kind for kind in KINDS if kind in signal.kinds]
    frame = (
        log.events.filter(pl.col("kind").is_in(kinds))
        .select(
            pl.col(*ids).cast(pl.Int64),
            "timestamp",
            "request_id",
            pl.col("kind", "domain").to_physical().cast(pl.Int64),
            "dwell_ms",
            "item_duration_ms",
        )
        .collect()
    )
    if frame["request_id"].null_count() < frame.height:
        alone = pl.when(pl.col("request_id").is_null()).then("timestamp").alias("alone")
        frame = frame.group_by(*ids, "request_id", alone, maintain_order=True).agg(
            pl.col("timestamp").first(), first, most
        )
    frame = frame.group_by(*ids, "timestamp", maintain_order=True).agg(first, most)
    keys = pl.DataFrame(
        {"user_id": events.user_E, "item_id": events.item_E, "timestamp": events.timestamp_E}
    )
    joined = keys.join(frame, on=[*ids, "timestamp"], how="left", maintain_order="left")
    names = ("kind", "domain", "dwell_ms", "item_duration_ms")
    return {name: joined[name].cast(pl.Int64).fill_null(-1).to_numpy() for name in names}


def _skipped(log: EventLog, events: Interactions) -> np.ndarray:
    """The newest item shown since the user's previous event that is not the one taken."""
    skipped_E = np.full(len(events), -1, dtype=np.int64)
    shown = (
        log.events.filter(pl.col("kind") == "impression")
        .select(pl.col("user_id", "item_id").cast(pl.Int64), "timestamp")
        .collect()
        .sort("user_id", "timestamp", maintain_order=True)
    )
    if not len(shown) or not len(events):
        return skipped_E
    taken = pl.DataFrame({"user_id": events.user_E, "item_id": events.item_E}).unique()
    shown = shown.join(taken, on=["user_id", "item_id"], how="anti", maintain_order="left")
    event = pl.DataFrame(
        {"user_id": events.user_E, "timestamp": events.timestamp_E, "at": np.arange(len(events))}
    )
    # each impression belongs to the first event at or after it
    found = shown.join_asof(
        event, on="timestamp", by="user_id", strategy="forward", check_sortedness=False
    )
    found = found.drop_nulls("at")
    skipped_E[found["at"].to_numpy()] = found["item_id"].to_numpy()
    return skipped_E
