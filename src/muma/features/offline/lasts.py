"""The last L events of a key before each row."""

from __future__ import annotations

import numba
import numpy as np

from muma.features.feature import Sequences
from muma.features.offline.layout import Layout, Mask, longest, taken


def padding(rows: int, length: int) -> Sequences:
    """Sequences of nothing."""
    shape = (rows, length)
    return Sequences(
        np.full(shape, -1, dtype=np.int64),
        np.zeros(shape, dtype=np.int64),
        np.full(shape, -1, dtype=np.int64),
        np.full(shape, -1, dtype=np.int64),
        np.full(shape, -1, dtype=np.int64),
        np.zeros(shape, dtype=bool),
    )


def part_of(sequences: Sequences, start: int, stop: int) -> Sequences:
    """Rows `start` to `stop` of sequences, without a copy."""
    cut = slice(start, stop)
    return Sequences(
        sequences.item_BL[cut],
        sequences.time_BL[cut],
        sequences.kind_BL[cut],
        sequences.domain_BL[cut],
        sequences.dwell_BL[cut],
        sequences.mask_BL[cut],
    )


def fill(
    layout: Layout,
    mask: Mask,
    packed_N: np.ndarray,
    dwell_N: np.ndarray,
    horizon: int,
    into: Sequences,
) -> None:
    """Write the newest events that pass `mask` into padding, the newest at the right.

    Args:
        layout: the rows.
        mask: which events are members.
        packed_N: int64 entries of all events.
        dwell_N: int64, the same.
        horizon: older events are left out (microseconds), -1 for none.
        into: padding of the chunk's rows.
    """
    arrays = (into.item_BL, into.time_BL, into.kind_BL, into.domain_BL, into.dwell_BL, into.mask_BL)
    _fill(layout, mask, packed_N, dwell_N, horizon, arrays)


@numba.njit(cache=True, nogil=True)
def _fill(
    layout: Layout,
    mask: Mask,
    packed_N: np.ndarray,
    dwell_N: np.ndarray,
    horizon: int,
    arrays: tuple[np.ndarray, ...],
) -> None:  # pragma: no cover - compiled
    item_BL, time_BL, kind_BL, domain_BL, dwell_BL, mask_BL = arrays
    size = longest(layout)
    time_Q, packed_Q = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int64)
    dwell_Q = np.empty(size, dtype=np.int64)
    for s in range(len(layout.first_S)):
        event, members = layout.first_S[s], 0
        for r in range(layout.row_S[s], layout.row_S[s + 1]):
            while event < layout.end_R[r]:
                if taken(mask, event):
                    time_Q[members] = layout.time_M[event]
                    packed_Q[members] = packed_N[layout.event_M[event]]
                    dwell_Q[members] = dwell_N[layout.event_M[event]]
                    members += 1
                event += 1
            b, at = layout.row_R[r], layout.at_R[r]
            length = item_BL.shape[1]
            for back in range(1, min(length, members) + 1):
                m, column = members - back, length - back
                if horizon >= 0 and at - time_Q[m] > horizon:
                    break
                packed = packed_Q[m]
                item_BL[b, column] = (packed >> 16) - 1
                time_BL[b, column] = time_Q[m]
                kind_BL[b, column] = (packed >> 8) & 255
                domain_BL[b, column] = packed & 255
                dwell_BL[b, column] = dwell_Q[m]
                mask_BL[b, column] = True
