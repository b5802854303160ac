"""The events that rows can see, once for all kinds of key: prepared, grouped, in order of time.

Only pairs of an event and a key that some row asks for are kept, so the cost of a kind follows what
is asked of it (a friends' kind above all, where an event has many keys).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
import polars as pl

from muma import progress
from muma.events.event import EventLog
from muma.features.activity import Prepared, components, frame_of, prepare
from muma.features.catalogue import Catalogue
from muma.features.followers import Followers
from muma.features.keys import pack
from muma.features.offline.keytable import KeyTable
from muma.features.offline.rows import Rows
from muma.features.plan import Plan

SLICE = 1 << 18  # events prepared at a time, which bounds the temporary arrays
_TIES = ("timestamp", "item_id", "kind", "domain", "_dwell_ms")  # the order of sequences
_Pairs = tuple[np.ndarray, np.ndarray]  # events (places) and groups


@dataclass(frozen=True)
class Events:
    """N events in order of time; equal times in the order of sequences, when the plan has some.

    Shape:
        as in `Prepared`: time_N, bits_WN, columns_CN, packed_N, dwell_N.
    """

    time_N: np.ndarray
    bits_WN: np.ndarray
    columns_CN: np.ndarray
    packed_N: np.ndarray
    dwell_N: np.ndarray

    @classmethod
    def room(cls, n: int, plan: Plan) -> Events:
        """Unfilled arrays for `n` events; words of sequences only if the plan has sequences."""
        words = max(1, -(-len(plan.writes) // 64))
        entries = n if plan.sequences else 0
        # an event's time and bits lie together: kernels that hop from event to event wait once
        together_NX = np.empty((n, 1 + words), dtype=np.int64)
        return cls(
            together_NX[:, 0],
            together_NX[:, 1:].T.view(np.uint64),
            np.empty((len(plan.event_columns), n), dtype=np.int64),
            np.empty(entries, dtype=np.int64),
            np.empty(entries, dtype=np.int64),
        )

    def fill(self, start: int, part: Prepared) -> None:
        """Put prepared events at `start`."""
        stop = start + len(part)
        self.time_N[start:stop] = part.time_N
        self.bits_WN[:, start:stop] = part.bits_WN
        self.columns_CN[:, start:stop] = part.columns_CN
        if len(self.packed_N):
            self.packed_N[start:stop] = part.packed_N
            self.dwell_N[start:stop] = part.dwell_N


@dataclass(frozen=True)
class KindHistory:
    """The pairs of one kind of key, by group, then time.

    Shape:
        event_M: places among the N events, int32 (int64 from 2^31 events on). start_G: int64 [G + 1].
    """

    table: KeyTable
    event_M: np.ndarray
    start_G: np.ndarray


@dataclass(frozen=True)
class History:
    """What `as_of` and `materialise` read rows from; `kinds` goes with `plan.kinds`."""

    plan: Plan
    catalogue: Catalogue
    events: Events
    kinds: tuple[KindHistory, ...]


def load(
    log: EventLog,
    rows: Rows,
    plan: Plan,
    *,
    catalogue: Catalogue | None = None,
    followers: Followers | None = None,
) -> History:
    """Read from a log what `rows` can see of it.

    Args:
        log: the events.
        rows: every row that will be asked for.
        plan: the features.
        catalogue: attributes of items; the log's by default.
        followers: who follows whom; the log's by default.
    """
    catalogue = catalogue or Catalogue.of(log)
    if followers is None:
        followers = Followers.of(log) if "friends" in plan.components else Followers.nobody()
    tables = _tables(rows, plan, catalogue)
    frame = _visible(log, rows, plan)
    n = frame.height
    events = Events.room(n, plan)
    place = np.int32 if n < 2**31 else np.int64

    def prepared(start: int) -> list[_Pairs]:
        part = prepare(frame.slice(start, SLICE), plan, catalogue, followers)
        events.fill(start, part)
        return [
            _matching(*part.keys[kind.name], table, start, place)
            for kind, table in zip(plan.kinds, tables, strict=True)
        ]

    found: list[list[_Pairs]] = [[] for _ in tables]
    with progress.task("preparing events", total=n) as task, workers() as pool:
        starts = range(0, n, SLICE)
        for start, pieces in zip(starts, pool.map(prepared, starts), strict=True):
            for pairs, piece in zip(found, pieces, strict=True):
                pairs.append(piece)
            task.advance(min(SLICE, n - start))
    kinds = []
    for pairs, table in zip(found, tables, strict=True):
        kinds.append(_grouped(table, pairs, place))
        pairs.clear()
    return History(plan, catalogue, events, tuple(kinds))


def workers() -> ThreadPoolExecutor:
    """Threads for work that leaves the interpreter: numba kernels and NumPy on large arrays."""
    return ThreadPoolExecutor(min(8, os.cpu_count() or 1))


def keys_of(rows: Rows, plan: Plan, catalogue: Catalogue) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per kind of key, the rows' keys (uint64 [B]) and whether they have one (bool [B])."""
    parts = components(plan, catalogue, rows.user_B, rows.item_B)
    return [pack([parts[name] for name in kind.key.components]) for kind in plan.kinds]


def _tables(rows: Rows, plan: Plan, catalogue: Catalogue) -> list[KeyTable]:
    """Groups of the keys that rows ask for; none for a kind that keeps nothing."""
    return [
        KeyTable.of(keys[present] if kind.states else keys[:0])
        for kind, (keys, present) in zip(plan.kinds, keys_of(rows, plan, catalogue), strict=True)
    ]


def _visible(log: EventLog, rows: Rows, plan: Plan) -> pl.DataFrame:
    """What is read of the events before the last row, in order of time."""
    lazy = frame_of(log, plan)
    if not len(rows) or not any(kind.states for kind in plan.kinds):
        return lazy.clear().collect()
    frame = lazy.filter(pl.col("timestamp") < int(rows.at_B.max())).collect(engine="streaming")
    if plan.sequences:
        return frame.sort(_TIES)
    time = frame["timestamp"].to_numpy()
    return frame if (time[1:] >= time[:-1]).all() else frame.sort("timestamp")


def _matching(
    place_M: np.ndarray | None, keys: np.ndarray, table: KeyTable, start: int, place: type
) -> _Pairs:
    """Places (from `start` on) and groups of the pairs whose key some row asks for."""
    if not table.size:
        return np.zeros(0, dtype=place), np.zeros(0, dtype=np.int32)
    group = table.groups(keys)
    asked = np.flatnonzero(group >= 0)
    event = asked if place_M is None else place_M[asked]
    return (event + start).astype(place), group[asked]


def _grouped(table: KeyTable, found: list[_Pairs], place: type) -> KindHistory:
    """Bring pieces in order of time together by group: a stable counting sort."""
    start_G = np.zeros(table.size + 1, dtype=np.int64)
    for _, group in found:
        _count(group, start_G)
    np.cumsum(start_G, out=start_G)
    next_G = start_G.copy()
    event_M = np.empty(start_G[-1], dtype=place)
    for event, group in found:
        _put(event, group, next_G, event_M)
    return KindHistory(table, event_M, start_G)


@numba.njit(cache=True, nogil=True)
def _count(group_n: np.ndarray, start_G: np.ndarray) -> None:  # pragma: no cover - compiled
    for group in group_n:
        start_G[group + 1] += 1


@numba.njit(cache=True, nogil=True)
def _put(
    event_n: np.ndarray, group_n: np.ndarray, next_G: np.ndarray, event_M: np.ndarray
) -> None:  # pragma: no cover - compiled
    for n in range(len(group_n)):
        group = group_n[n]
        event_M[next_G[group]] = event_n[n]
        next_G[group] += 1
