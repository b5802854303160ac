"""Distinct-count sketches over ranges: per register, where each rank was last seen.

The rank of a register is its highest one that was seen inside the range. Ranges only move forward,
so a rank that has left stays out until it is seen again: each event costs constant time.
"""

from __future__ import annotations

import numba
import numpy as np

from muma.features.offline.layout import Layout, Mask, taken
from muma.features.offline.ranges import Ranges

RANKS = 64


@numba.njit(cache=True, nogil=True)
def registers(
    layout: Layout,
    mask: Mask,
    coupon_N: np.ndarray,
    words: int,
    ranges: Ranges,
    merged_BM: np.ndarray,
    place: int,
) -> None:  # pragma: no cover - compiled
    """Write the registers of each range, a byte each, into `words` words from `place` on."""
    size = 8 * words
    seen_S, top_S = np.empty(size, dtype=np.uint64), np.empty(size, dtype=np.int64)
    last_SR = np.empty((size, RANKS), dtype=np.int64)
    one = np.uint64(1)
    for s in range(len(layout.first_S)):
        seen_S[:] = 0
        top_S[:] = 0
        event = layout.first_S[s]
        for r in range(layout.row_S[s], layout.row_S[s + 1]):
            start, end = ranges.start_R[r], ranges.end_R[r]
            if end <= start:
                continue
            event = max(event, start)
            while event < end:
                if taken(mask, event):
                    coupon = coupon_N[layout.event_M[event]]
                    register, rank = (coupon >> 8) & (size - 1), coupon & 255
                    seen_S[register] |= one << np.uint64(rank)
                    last_SR[register, rank] = event
                    top_S[register] = max(top_S[register], rank)
                event += 1
            for word in range(words):
                packed = np.int64(0)
                for byte in range(8):
                    register = 8 * word + byte
                    top = top_S[register]
                    while top > 0 and last_SR[register, top] < start:
                        seen_S[register] ^= one << np.uint64(top)
                        top -= 1
                        while top > 0 and not seen_S[register] & (one << np.uint64(top)):
                            top -= 1
                    top_S[register] = top
                    packed |= top << (8 * byte)
                merged_BM[layout.row_R[r], place + word] = packed
