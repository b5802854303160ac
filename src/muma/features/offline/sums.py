"""Sums and counts over ranges: differences of running totals, exact in wrapping 64-bit integers."""

from __future__ import annotations

import numba
import numpy as np

from muma.features.offline.layout import Layout, Mask, taken
from muma.features.offline.ranges import Ranges


@numba.njit(cache=True, nogil=True)
def totals(
    layout: Layout, mask: Mask, ones: bool, values_N: np.ndarray
) -> np.ndarray:  # pragma: no cover - compiled
    """Running totals of `values_N` (of ones if `ones`); int64 [M + 1], before each place."""
    total_M = np.empty(len(layout.event_M) + 1, dtype=np.int64)
    total_M[0] = 0
    total = np.int64(0)
    for s in range(len(layout.first_S)):
        total_M[layout.first_S[s]] = total
        for place in range(layout.first_S[s], layout.last_S[s]):
            if taken(mask, place):
                total += 1 if ones else values_N[layout.event_M[place]]
            total_M[place + 1] = total
    return total_M


@numba.njit(cache=True, nogil=True)
def differences(
    layout: Layout, total_M: np.ndarray, ranges: Ranges, merged_BM: np.ndarray, place: int
) -> None:  # pragma: no cover - compiled
    """Write the total of each row's range into word `place`."""
    for r in range(len(layout.row_R)):
        start, end = ranges.start_R[r], ranges.end_R[r]
        if end > start:
            merged_BM[layout.row_R[r], place] = total_M[end] - total_M[start]
