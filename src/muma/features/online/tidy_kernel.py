"""Clears from a row what nobody can read any more, so that equal sets of events give equal rows.

"Any more" is relative to the key's own newest event (`row[0]`): reads are never earlier than it.
"""

from __future__ import annotations

import numba
import numpy as np

from muma.features.online.kernel_tables import KernelTables
from muma.features.plan import ALL_TIME, DECAY, GAP, SEQUENCE, SLIDING
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
                epoch, stride = newest // tables.states[s, 1], tables.states[s, 4]
                for i in range(tables.states[s, 2] + 1):
                    base = tables.states[s, 3] + i * stride
                    spent = True
                    for w in range(1, stride):
                        spent = spent and row[base + w] == 0
                    if epoch - (row[base] - 1) >= DECAY_LIMIT or (i == 0 and spent):
                        row[base : base + stride] = 0
            elif kind == ALL_TIME:
                horizon, base = tables.states[s, 7], tables.states[s, 3]
                for w in range(tables.states[s, 4]):
                    if horizon >= 0 and newest - (row[base + w] - 1) > horizon:
                        row[base + w] = 0
            elif kind == GAP:
                for i in range(tables.states[s, 2]):
                    base = tables.states[s, 3] + i * tables.states[s, 4]
                    if row[base] > 0 and newest - (row[base + 1] - 1) > tables.states[s, 7]:
                        row[base : base + tables.states[s, 4]] = 0
            elif kind == SEQUENCE and tables.states[s, 7] >= 0:
                _forget(row, s, newest, tables)


@numba.njit(cache=True, nogil=True)
def _forget(row, s, newest, tables):
    """Drop a sequence's entries beyond its horizon."""
    offset, horizon = tables.states[s, 3], tables.states[s, 7]
    count, old = row[offset], 0
    while old < count and newest - row[offset + 1 + old * 3] > horizon:
        old += 1
    if old == 0:
        return
    kept = (count - old) * 3
    for w in range(kept):
        row[offset + 1 + w] = row[offset + 1 + old * 3 + w]
    row[offset + 1 + kept : offset + 1 + count * 3] = 0
    row[offset] = count - old
