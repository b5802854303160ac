"""Decayed sums and counts by id: `N = (N of the epoch before >> 1) + V`, epoch by epoch.

See `Decay` in `window.py` for the integers. Each bucket keeps its own epoch, so an event costs
constant time however many buckets there are.
"""

from __future__ import annotations

import numba
import numpy as np

from muma.features.offline.layout import Layout, Mask, taken
from muma.features.window import STEPS, WEIGHTS

_MOST = 63  # a shift this long leaves nothing of a positive 64-bit integer


@numba.njit(cache=True, nogil=True)
def _aged(value: int, epochs: int) -> int:  # pragma: no cover - compiled
    return value >> epochs if epochs < _MOST else 0


@numba.njit(cache=True, nogil=True)
def decayed(
    layout: Layout,
    mask: Mask,
    ones: bool,
    by_id: bool,
    column_N: np.ndarray,
    words: int,
    half_life: int,
    merged_BM: np.ndarray,
    place: int,
) -> None:  # pragma: no cover - compiled
    """Write decayed sums into `words` words from `place` on.

    Args:
        layout: the rows.
        mask: which events take part.
        ones: sum ones, not `column_N`.
        by_id: `column_N` holds ids; count them apart, the last word takes the rest.
        column_N: int64 values or ids of all events.
        words: 1 for a sum, else the number of buckets.
        half_life: microseconds.
        merged_BM: int64, where to write.
        place: first word.
    """
    sum_W, epoch_W = np.empty(words, dtype=np.int64), np.empty(words, dtype=np.int64)
    for s in range(len(layout.first_S)):
        sum_W[:] = 0
        epoch_W[:] = 0
        event = layout.first_S[s]
        epoch, weight = np.int64(0), np.int64(0)
        until = layout.time_M[event] - 1  # weight and epoch hold for times before it
        for r in range(layout.row_S[s], layout.row_S[s + 1]):
            while event < layout.end_R[r]:
                if taken(mask, event):
                    time = layout.time_M[event]
                    if time >= until:
                        epoch = time // half_life
                        start = epoch * half_life
                        step = (time - start) * STEPS // half_life
                        weight = WEIGHTS[step]
                        until = start + ((step + 1) * half_life + STEPS - 1) // STEPS
                    word, value = 0, np.int64(1)
                    if by_id:
                        word = min(column_N[layout.event_M[event]], words - 1)
                    elif not ones:
                        value = column_N[layout.event_M[event]]
                    if sum_W[word]:
                        sum_W[word] = _aged(sum_W[word], epoch - epoch_W[word])
                    sum_W[word] += value * weight
                    epoch_W[word] = epoch
                event += 1
            now = layout.at_R[r] // half_life
            for word in range(words):
                if sum_W[word]:
                    merged_BM[layout.row_R[r], place + word] = _aged(
                        sum_W[word], now - epoch_W[word]
                    )
