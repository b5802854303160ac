"""Minima and maxima over ranges: a queue of falling scores, whose head is the best of the range."""

from __future__ import annotations

import numba
import numpy as np

from muma.features.offline.layout import Layout, Mask, longest, taken
from muma.features.offline.ranges import Ranges


@numba.njit(cache=True, nogil=True)
def best(
    layout: Layout,
    mask: Mask,
    values_N: np.ndarray,
    sign: int,
    bound: int,
    ranges: Ranges,
    merged_BM: np.ndarray,
    place: int,
) -> None:  # pragma: no cover - compiled
    """Write the largest `sign * (value - bound)` of each range into word `place`; 0 is nothing."""
    size = longest(layout)
    place_Q, score_Q = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int64)
    for s in range(len(layout.first_S)):
        head, tail, event = 0, 0, layout.first_S[s]
        for r in range(layout.row_S[s], layout.row_S[s + 1]):
            start, end = ranges.start_R[r], ranges.end_R[r]
            if end <= start:
                continue
            event = max(event, start)
            while event < end:
                if taken(mask, event):
                    score = sign * (values_N[layout.event_M[event]] - bound)
                    while tail > head and score_Q[tail - 1] <= score:
                        tail -= 1
                    place_Q[tail], score_Q[tail] = event, score
                    tail += 1
                event += 1
            while head < tail and place_Q[head] < start:
                head += 1
            if head < tail:
                merged_BM[layout.row_R[r], place] = score_Q[head]
