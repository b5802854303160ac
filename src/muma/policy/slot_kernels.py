"""The compiled inner loops of slots: the chances of softmax under a floor, and the draw.

Shape: N candidates, n places taken, K slots.
"""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def softmax_slot(
    score_N: np.ndarray,
    order_N: np.ndarray,
    taken_n: np.ndarray,
    temperature: float,
    least: float,
    most: int,
) -> np.ndarray:
    """Probabilities of the next slot, float64 [N]: softmax over the best candidates left, floored.

    Args:
        score_N: finite, float64 [N].
        order_N: places, best first, int64 [N].
        taken_n: places that are closed, int64 [n]; fewer than N.
        temperature: of the softmax, above 0.
        least: the floor.
        most: candidates that the floor can hold, at least 1.

    Example:
        >>> order_N, none_n = np.array([1, 0]), np.zeros(0, dtype=np.int64)
        >>> softmax_slot(np.log([1.0, 3.0]), order_N, none_n, 1.0, 0.1, 9).round(4).tolist()
        [0.3, 0.7]
    """
    left_N = np.ones(len(order_N), dtype=np.bool_)
    for place in taken_n:
        left_N[place] = False
    p_N = np.zeros(len(order_N))
    size, top = 0, -np.inf
    for place in order_N:
        if left_N[place] and size < most:
            size += 1
            top = max(top, score_N[place])
    total, seen = 0.0, 0
    for place in order_N:
        if left_N[place] and seen < size:
            seen += 1
            p_N[place] = np.exp((score_N[place] - top) / temperature)
            total += p_N[place]
    share, seen = max(0.0, 1.0 - size * least), 0
    for place in order_N:
        if left_N[place] and seen < size:
            seen += 1
            p_N[place] = 1.0 if size == 1 else least + share * (p_N[place] / total)
    return p_N


@numba.njit(cache=True, nogil=True)
def drawn(
    p_N: np.ndarray, u: float, order_N: np.ndarray, open_N: np.ndarray
) -> tuple[int, int, int]:
    """The place that `u`, uniform in [0, 1), falls on; how many have a chance; the best open one.

    Example:
        >>> p_N, open_N = np.array([0.25, 0, 0.75]), np.array([True, False, True])
        >>> drawn(p_N, 0.5, np.array([1, 0, 2]), open_N)
        (2, 2, 0)
    """
    total = 0.0
    for p in p_N:
        total += p
    place, support, reached, wanted = -1, 0, 0.0, u * total
    for i in range(len(p_N)):
        if p_N[i] > 0:
            support += 1
            if place < 0 or reached <= wanted:
                place = i
            reached += p_N[i]
    best = -1
    for i in order_N:
        if open_N[i]:
            best = i
            break
    return place, support, best


@numba.njit(cache=True, nogil=True)
def softmax_fill(
    score_N: np.ndarray,
    order_N: np.ndarray,
    open_N: np.ndarray,
    u_K: np.ndarray,
    temperature: float,
    least: float,
    most: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All slots in one go, where whoever is open may take any slot: `softmax_slot`, then `drawn`.

    Args:
        score_N: see `softmax_slot`.
        order_N: likewise.
        open_N: candidates that may be shown, boolean [N].
        u_K: uniform in [0, 1), one a slot.
        temperature: see `softmax_slot`.
        least: likewise.
        most: likewise.

    Returns:
        For each slot, K or as many as are open: its place, its probability, how many had a chance, and
        the best place that was open.
    """
    left_N = open_N.copy()
    k = min(len(u_K), np.sum(open_N))
    place_K, p_K = np.empty(k, dtype=np.int64), np.empty(k)
    support_K, best_K = np.empty(k, dtype=np.int64), np.empty(k, dtype=np.int64)
    for s in range(k):
        closed_n = np.flatnonzero(~left_N)
        p_N = softmax_slot(score_N, order_N, closed_n, temperature, least, most)
        place, support_K[s], best_K[s] = drawn(p_N, u_K[s], order_N, left_N)
        place_K[s], p_K[s] = place, min(p_N[place], 1.0)
        left_N[place] = False
    return place_K, p_K, support_K, best_K
