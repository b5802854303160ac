"""A window at each row, as the range `[start, end)` of its key's events that it covers.

Inside a key both ends only move forward from row to row (rows are in order of time), which is what
lets the kernels sweep. A range with `end <= start` is empty.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from muma.features.offline.layout import Layout, Mask, taken


class Ranges(NamedTuple):
    """Shape:
    start_R, end_R: int64 places among the kind's pairs.
    """

    start_R: np.ndarray
    end_R: np.ndarray


def sliding(layout: Layout, length: int, pane: int) -> Ranges:
    """`floor_pane(t) - length + pane <= time < t` (microseconds)."""
    floor_R = layout.at_R // pane * pane
    return _since(layout, floor_R - length + pane)


def all_time(layout: Layout, horizon: int) -> Ranges:
    """`time < t`, and `t - time <= horizon` when that is not negative (microseconds)."""
    if horizon < 0:
        return Ranges(layout.start_R, layout.end_R)
    return _since(layout, layout.at_R - horizon)


def sessions(layout: Layout, members: Mask, gap: int, horizon: int) -> tuple[Ranges, Ranges]:
    """The open and the last closed session of each row.

    Args:
        layout: the rows.
        members: which events belong to sessions; others may lie inside a range.
        gap: longest pause inside a session, microseconds.
        horizon: a session that ended longer ago is empty, microseconds.
    """
    rows = len(layout.at_R)
    places_4R = np.zeros((4, rows), dtype=np.int64)
    _sessions(layout, members, gap, horizon, places_4R)
    return Ranges(places_4R[0], places_4R[1]), Ranges(places_4R[2], places_4R[3])


def _since(layout: Layout, oldest_R: np.ndarray) -> Ranges:
    start_R = np.empty(len(oldest_R), dtype=np.int64)
    _first_since(layout, oldest_R, start_R)
    return Ranges(start_R, layout.end_R)


@numba.njit(cache=True, nogil=True)
def _first_since(
    layout: Layout, oldest_R: np.ndarray, start_R: np.ndarray
) -> None:  # pragma: no cover - compiled
    time_M, end_R = layout.time_M, layout.end_R
    for s in range(len(layout.first_S)):
        place = layout.first_S[s]
        for r in range(layout.row_S[s], layout.row_S[s + 1]):
            end, oldest = end_R[r], oldest_R[r]
            while place < end and time_M[place] < oldest:
                place += 1
            start_R[r] = place


@numba.njit(cache=True, nogil=True)
def _sessions(
    layout: Layout, members: Mask, gap: int, horizon: int, places_4R: np.ndarray
) -> None:  # pragma: no cover - compiled
    time_M = layout.time_M
    for s in range(len(layout.first_S)):
        place = layout.first_S[s]
        start, end, stopped = 0, 0, np.int64(0)  # the newest session: its range and last time
        old_start, old_end, old_stopped = 0, 0, np.int64(0)  # the one before
        for r in range(layout.row_S[s], layout.row_S[s + 1]):
            while place < layout.end_R[r]:
                if taken(members, place):
                    if end > start and time_M[place] - stopped > gap:
                        old_start, old_end, old_stopped = start, end, stopped
                        start = place
                    elif end <= start:
                        start = place
                    end, stopped = place + 1, time_M[place]
                place += 1
            at = layout.at_R[r]
            is_open = end > start and at - stopped <= gap
            if is_open:
                if at - stopped <= horizon:
                    places_4R[0, r], places_4R[1, r] = start, end
                if at - old_stopped <= horizon:
                    places_4R[2, r], places_4R[3, r] = old_start, old_end
            elif end > start and at - stopped <= horizon:
                places_4R[2, r], places_4R[3, r] = start, end
