"""Sums and counts over ranges: differences of running totals, exact in wrapping 64-bit integers."""

from __future__ import annotations

import numba
import numpy as np

from muma.features.offline.layout import Layout, Mask, longest, taken


@numba.njit(cache=True, nogil=True)
def sums(
    layout: Layout,
    mask: Mask,
    ones: bool,
    values_N: np.ndarray,
    start_KR: np.ndarray,
    end_KR: np.ndarray,
    place_K: np.ndarray,
    merged_RM: np.ndarray,
) -> None:  # pragma: no cover - compiled
    """Write each row's totals of K windows; the running totals of one key at a time stay in the cache.

    Args:
        layout: the rows.
        mask: which events count.
        ones: count events instead of adding their values.
        values_N: int64, a value of each event.
        start_KR: int64, first event of each window of each row.
        end_KR: int64, the place after its last.
        place_K: int64, the word of each window.
        merged_RM: int64, written.
    """
    total_m = np.empty(longest(layout) + 1, dtype=np.int64)
    for s in range(len(layout.first_S)):
        first, total = layout.first_S[s], np.int64(0)
        total_m[0] = 0
        for place in range(first, layout.last_S[s]):
            if taken(mask, place):
                total += 1 if ones else values_N[layout.event_M[place]]
            total_m[place - first + 1] = total
        for r in range(layout.row_S[s], layout.row_S[s + 1]):
            for k in range(len(place_K)):
                start, end = start_KR[k, r], end_KR[k, r]
                if end > start:
                    merged_RM[layout.row_R[r], place_K[k]] = (
                        total_m[end - first] - total_m[start - first]
                    )
