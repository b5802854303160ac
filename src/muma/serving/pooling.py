"""The best items of every source, joined: compiled, for it is done at every answer.

Of equal scores the item with the lower index is better, on every machine.

Shape: I items, S sources, N candidates.
"""

from __future__ import annotations

import numba
import numpy as np

from muma.candidates.scale import moments, z_of

_LANES = (
    4  # columns of a first look a place of the pool: more of them raise its bound, and cost more
)


@numba.njit(cache=True, nogil=True)
def best(score_I: np.ndarray, allowed_I: np.ndarray, pool: int) -> np.ndarray:
    """The `pool` allowed items with the greatest finite scores, int64, in no set order.

    The best of each of 4 `pool` columns of items are at least `pool` items good enough, so that the
    pool-th of them is a bound below which nothing needs a second look.

    Args:
        score_I: scores; may be shorter than `allowed_I`, whose later items are new to the source.
        allowed_I: boolean.
        pool: how many at most.
    """
    size, lanes = min(len(score_I), len(allowed_I)), _LANES * pool
    if pool == 0:
        return np.empty(0, dtype=np.int64)
    open_I = np.empty(size, dtype=score_I.dtype)
    for i in range(size):
        score = score_I[i]
        open_I[i] = score if allowed_I[i] & (abs(score) < np.inf) else -np.inf
    heap, bound = np.empty(pool, dtype=np.int64), float(np.finfo(open_I.dtype).min)
    if size > 4 * lanes:
        lane = open_I[:lanes].copy()
        for begin in range(lanes, size, lanes):
            part = open_I[begin : begin + lanes]
            for j in range(len(part)):
                lane[j] = part[j] if part[j] > lane[j] else lane[j]
        if _greatest(lane, bound, heap) == pool:
            bound = float(lane[heap[0]])
    return heap[: _greatest(open_I, bound, heap)]


@numba.njit(cache=True, nogil=True)
def pooled(
    score_SI: np.ndarray, length_S: np.ndarray, allowed_I: np.ndarray, pool: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the sources propose together.

    Args:
        score_SI: raw scores, float32.
        length_S: items that each source knows, int64; 0 for one that failed.
        allowed_I: boolean.
        pool: items that each source proposes.

    Returns:
        Items int64 [N], ascending; their scores float32 [N, S] as `scored` has them; and who proposed
        which, boolean [N, S].
    """
    place_I = np.full(len(allowed_I), -1, dtype=np.int64)
    sources = len(length_S)
    found_SP = np.full((sources, pool), -1, dtype=np.int64)
    for s in range(sources):
        mine = best(score_SI[s, : length_S[s]], allowed_I, pool)
        found_SP[s, : len(mine)] = mine
        place_I[mine] = 0
    item_N = np.flatnonzero(place_I == 0)
    place_I[item_N] = np.arange(len(item_N))
    by_NS = np.zeros((len(item_N), sources), dtype=np.bool_)
    for s in range(sources):
        for item in found_SP[s]:
            if item >= 0:
                by_NS[place_I[item], s] = True
    return item_N, scored(score_SI, length_S, item_N), by_NS


@numba.njit(cache=True, nogil=True)
def scored(score_SI: np.ndarray, length_S: np.ndarray, item_N: np.ndarray) -> np.ndarray:
    """Scores of some items, standardised over each source's own: float32 [N, S], NaN where none."""
    score_NS = np.full((len(item_N), len(length_S)), np.nan, dtype=np.float32)
    for s in range(len(length_S)):
        raw_I = score_SI[s, : length_S[s]]
        mean, deviation = moments(raw_I)
        for n in range(len(item_N)):
            if item_N[n] < len(raw_I):
                score_NS[n, s] = z_of(float(raw_I[item_N[n]]), mean, deviation)
    return score_NS


@numba.njit(cache=True, nogil=True)
def _greatest(value_n: np.ndarray, bound: float, heap: np.ndarray) -> int:
    """Fill a heap, worst first, with the best values that are not below a bound; how many."""
    count = 0
    for i in range(len(value_n)):
        value = value_n[i]
        if value < bound:
            continue
        if count < len(heap):
            _rise(heap, count, value_n, i)
            count += 1
        elif value > value_n[heap[0]]:
            _sink(heap, value_n, i)
    return count


@numba.njit(cache=True, nogil=True)
def _rise(heap: np.ndarray, at: int, value_n: np.ndarray, item: int) -> None:
    """Put an item into the free place behind the last, and where it belongs; others have come before."""
    while at > 0:
        above = (at - 1) >> 1
        if value_n[heap[above]] < value_n[item]:
            break
        heap[at] = heap[above]
        at = above
    heap[at] = item


@numba.njit(cache=True, nogil=True)
def _sink(heap: np.ndarray, value_n: np.ndarray, item: int) -> None:
    """Put an item in place of the worst; of equal ones the later is the worse."""
    value, at, below = value_n[item], 0, 1
    while below < len(heap):
        worst = heap[below]
        if below + 1 < len(heap):
            other = heap[below + 1]
            if value_n[other] < value_n[worst] or (
                value_n[other] == value_n[worst] and other > worst
            ):
                worst, below = other, below + 1
        if value_n[worst] > value:
            break
        if value_n[worst] == value and worst < item:
            break
        heap[at] = worst
        at, below = below, 2 * below + 1
    heap[at] = item
