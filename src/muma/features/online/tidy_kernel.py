"""Clears from a row what nobody can read any more, so that equal sets of events give equal rows.

"Any more" is relative to the key's own newest event (`row[0]`): reads are never earlier than it.
"""

from __future__ import annotations

import numba
import numpy as np

from muma.features.kind_plan import ALL_TIME, DECAY, GAP, SEQUENCE, SLIDING
from muma.features.online.kernel_tables import KernelTables
from muma.features.window import DECAY_LIMIT


@numba.njit(cache=True, nogil=True)
def tidy(rows: np.ndarray, row_N: np.ndarray, tables: KernelTables) -> None:
    """Clear rows in place.

    Args:
        rows: int64 [R, width].
        row_N: int64, which rows.
        tables: the kind's plan.
    """
    for n in range(len(row_N)):
        row = rows[row_N[n]]
        newest = row[0] - 1
        for s in range(tables.states.shape[0]):
            kind = tables.states[s, 0]
            if kind == SLIDING:
                pane = newest // tables.states[s, 1]
                for i in range(tables.states[s, 2]):
                    base = tables.states[s, 3] + i * tables.states[s, 4]
                    if row[base] > 0 and row[base] - 1 <= pane - tables.states[s, 2]:
                        row[base : base + tables.states[s, 4]] = 0
            elif kind == DECAY:
                _fade(row, s, newest, tables)
            elif kind == ALL_TIME:
                horizon, base = tables.states[s, 7], tables.states[s, 3]
                for w in range(tables.states[s, 4]):
                    if horizon >= 0 and newest - (row[base + w] - 1) > horizon:
                        row[base + w] = 0
            elif kind == GAP:
                _close(row, s, newest, tables)
            elif kind == SEQUENCE and tables.states[s, 7] >= 0:
                _forget(row, s, newest, tables)


@numba.njit(cache=True, nogil=True)
def _fade(row, s, newest, tables):
    """Drop a decayed sum that has come to nothing, or its folded past when that has.

    The past counts by what is left of it in the epoch before the oldest one that still takes
    events: not in the newest one, where its fractions may still carry.
    """
    span, slots, acc, stride = (
        tables.states[s, 1],
        tables.states[s, 2],
        tables.states[s, 3],
        tables.states[s, 4],
    )
    last = np.int64(-1)
    for i in range(1, slots + 1):
        last = max(last, row[acc + i * stride] - 1)
    if newest // span - last >= DECAY_LIMIT:
        row[acc : acc + (slots + 1) * stride] = 0
        return
    if row[acc] == 0:
        return
    shift = last - slots - (row[acc] - 1)
    for w in range(1, stride):
        if shift < DECAY_LIMIT and row[acc + w] >> shift != 0:
            return
    row[acc : acc + stride] = 0


@numba.njit(cache=True, nogil=True)
def _close(row, s, newest, tables):
    """Drop sessions that no read and no late event can reach.

    An event that is late by at most `(slots - 3) * gap` can join sessions which began since then,
    and so bring older ones back into reach; beyond those, the three newest are kept.
    """
    gap, slots, offset, stride = (
        tables.states[s, 1],
        tables.states[s, 2],
        tables.states[s, 3],
        tables.states[s, 4],
    )
    reach = max(tables.states[s, 7], (slots - 2) * gap)
    old = 0
    for i in range(slots):
        base = offset + i * stride
        if row[base] == 0:
            return
        if newest - (row[base] - 1) >= (slots - 3) * gap:
            old += 1
        if old > 3 or newest - (row[base + 1] - 1) > reach:
            row[base : base + stride] = 0


@numba.njit(cache=True, nogil=True)
def _forget(row, s, newest, tables):
    """Drop a sequence's entries beyond its horizon."""
    offset, horizon = tables.states[s, 3], tables.states[s, 7]
    count, old = min(max(row[offset], 0), tables.states[s, 2]), 0
    while old < count and newest - row[offset + 1 + old * 3] > horizon:
        old += 1
    if old == 0:
        return
    kept = (count - old) * 3
    for w in range(kept):
        row[offset + 1 + w] = row[offset + 1 + old * 3 + w]
    row[offset + 1 + kept : offset + 1 + count * 3] = 0
    row[offset] = count - old
