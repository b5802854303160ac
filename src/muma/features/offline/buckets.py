"""Counts by id over ranges: events are added as they enter a range and taken out as they leave."""

from __future__ import annotations

import numba
import numpy as np

from muma.features.offline.layout import Layout, Mask, longest, taken
from muma.features.offline.ranges import Ranges


@numba.njit(cache=True, nogil=True)
def buckets(
    layout: Layout,
    mask: Mask,
    id_N: np.ndarray,
    words: int,
    ranges: Ranges,
    merged_BM: np.ndarray,
    place: int,
) -> None:  # pragma: no cover - compiled
    """Write the counts of each range into `words` words from `place` on; the last takes the rest."""
    held = np.empty(longest(layout), dtype=np.int32)  # bucket of each of the key's events, or -1
    count_W = np.empty(words, dtype=np.int64)
    for s in range(len(layout.first_S)):
        count_W[:] = 0
        first = layout.first_S[s]
        left = event = first  # events [left, event) are counted
        for r in range(layout.row_S[s], layout.row_S[s + 1]):
            start, end = ranges.start_R[r], ranges.end_R[r]
            if end <= start:
                continue
            while left < min(start, event):
                if held[left - first] >= 0:
                    count_W[held[left - first]] -= 1
                left += 1
            if event < start:
                left = event = start
            while event < end:
                bucket = -1
                if taken(mask, event):
                    bucket = min(id_N[layout.event_M[event]], words - 1)
                    count_W[bucket] += 1
                held[event - first] = bucket
                event += 1
            merged_BM[layout.row_R[r], place : place + words] = count_W
