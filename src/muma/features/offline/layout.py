"""Rows of one chunk beside the events of their keys, for one kind of key: what every kernel sweeps.

Rows that have a key with events are ordered by (key, time) into S segments, one a key. Events are
addressed by their place among the kind's M pairs; `time_M` and `bits_WM` are filled only where some
row of the chunk can look.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from muma.features.offline.history import Events, KindHistory


class Layout(NamedTuple):
    """S keys, R rows.

    Shape:
        row_S: int64 [S + 1], rows of each key. first_S, last_S: int64 [S], its events.
        row_R: int64, place of the row in the chunk. at_R: int64 microseconds, rising inside a key.
        start_R, end_R: int64, the range of the key's events before the row's time.
        event_M: place among all events. time_M: int64 microseconds.
    """

    row_S: np.ndarray
    first_S: np.ndarray
    last_S: np.ndarray
    row_R: np.ndarray
    at_R: np.ndarray
    start_R: np.ndarray
    end_R: np.ndarray
    event_M: np.ndarray
    time_M: np.ndarray


class Mask(NamedTuple):
    """Which events take part: those with both bits set.

    Shape:
        first_M, second_M: uint64 words of write bits, first and second a bit of each.
    """

    first_M: np.ndarray
    first: np.uint64
    second_M: np.ndarray
    second: np.uint64


def lay_out(
    kind: KindHistory,
    events: Events,
    keys: np.ndarray,
    present: np.ndarray,
    at_B: np.ndarray,
    by_time_B: np.ndarray,
) -> tuple[Layout, np.ndarray]:
    """Order a chunk's rows by key and time and gather what their keys' events need.

    Args:
        kind: the kind's events.
        events: all events.
        keys: uint64 [B].
        present: bool [B], whether the row has a key.
        at_B: int64 microseconds.
        by_time_B: places of rows in rising order of time.

    Returns:
        the layout, and write bits uint64 [W, M].
    """
    group_B = kind.table.groups(keys)
    group_B[~present] = -1
    length_G = np.diff(kind.start_G)
    if kind.table.size:
        group_B[length_G[group_B] == 0] = -1
    row_R = by_time_B[group_B[by_time_B] >= 0]
    row_R = row_R[np.argsort(group_B[row_R], kind="stable")]
    group_R = group_B[row_R]
    edge_S = np.flatnonzero(np.diff(group_R, prepend=-1))
    group_S = group_R[edge_S]
    rows, pairs = len(row_R), len(kind.event_M)
    layout = Layout(
        np.append(edge_S, rows).astype(np.int64),
        kind.start_G[group_S],
        kind.start_G[group_S + 1],
        row_R.astype(np.int64),
        at_B[row_R],
        np.empty(rows, dtype=np.int64),
        np.empty(rows, dtype=np.int64),
        kind.event_M,
        np.empty(pairs, dtype=np.int64),
    )
    bits_WM = np.empty((len(events.bits_WN), pairs), dtype=np.uint64)
    _see(layout, events.time_N, events.bits_WN, bits_WM)
    return layout, bits_WM


@numba.njit(cache=True, nogil=True)
def _see(
    layout: Layout, time_N: np.ndarray, bits_WN: np.ndarray, bits_WM: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Find what each row sees, filling times and bits; a key's events end at what its last row sees."""
    for s in range(len(layout.first_S)):
        first, last = layout.first_S[s], layout.last_S[s]
        place = first
        for r in range(layout.row_S[s], layout.row_S[s + 1]):
            while place < last:
                event = layout.event_M[place]
                time = time_N[event]
                if time >= layout.at_R[r]:
                    break
                layout.time_M[place] = time
                for w in range(len(bits_WN)):
                    bits_WM[w, place] = bits_WN[w, event]
                place += 1
            layout.start_R[r] = first
            layout.end_R[r] = place
        layout.last_S[s] = place


@numba.njit(cache=True, nogil=True)
def longest(layout: Layout) -> int:  # pragma: no cover - compiled
    """Most events that one key has."""
    found = 0
    for s in range(len(layout.first_S)):
        found = max(found, layout.last_S[s] - layout.first_S[s])
    return found


@numba.njit(cache=True, nogil=True)
def taken(mask: Mask, place: int) -> bool:  # pragma: no cover - compiled
    """Whether the event at `place` has both bits."""
    return (mask.first_M[place] & mask.first) != 0 and (mask.second_M[place] & mask.second) != 0
