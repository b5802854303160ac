"""The compiled inner loops of this room, over contiguous arms.

`top_index` reads all arms once. Blocks of arms are valued together, which vectorises; a block whose
values all stay at or below the k-th best so far is left at once, and only a block that holds a better
one is looked at arm by arm.

Shape: A arms, K list length, M posterior draws, N candidates.
"""

from __future__ import annotations

import numba
import numpy as np

_BLOCK = 512  # values held at once: a block lies in the nearest cache


@numba.njit(cache=True, nogil=True)
def top_index(
    mean_A: np.ndarray, width_A: np.ndarray, scale: float, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k arms with the largest mean + scale * width, best first; ties go to the lower arm.

    With width 1 / sqrt(n) and scale sqrt(2 ln t) this is the index of eq. 12; an unseen arm has an
    infinite width and comes first. Arms with a NaN index are never returned.

    Args:
        mean_A: contiguous float64 [A].
        width_A: contiguous float64 [A].
        scale: factor of the width, above 0.
        k: length of the list.

    Returns:
        Arms, int64 [K], and their indices, float64 [K]; K is k, or less if there are fewer arms.

    Example:
        >>> arm_K, _ = top_index(np.array([0.1, 0.3, 0.3]), np.array([0.5, 0.1, 0.1]), 1.0, 2)
        >>> arm_K.tolist()
        [0, 1]
    """
    arm_K, value_K = np.full(k, -1, np.int64), np.full(k, -np.inf)
    value = np.empty(_BLOCK)
    filled = 0
    for start in range(0, len(mean_A) if k > 0 else 0, _BLOCK):
        size = min(_BLOCK, len(mean_A) - start)
        mean, width = mean_A[start : start + size], width_A[start : start + size]
        threshold = value_K[k - 1]
        better = 0
        for i in range(size):
            value[i] = mean[i] + scale * width[i]
            better += value[i] > threshold
        if better == 0 and filled == k:
            continue
        for i in range(size):
            if value[i] > value_K[k - 1] or (filled < k and value[i] == value[i]):
                place = min(filled, k - 1)
                while place > 0 and value_K[place - 1] < value[i]:
                    value_K[place], arm_K[place] = value_K[place - 1], arm_K[place - 1]
                    place -= 1
                value_K[place], arm_K[place] = value[i], start + i
                filled = min(filled + 1, k)
    return arm_K[:filled], value_K[:filled]


@numba.njit(cache=True, nogil=True)
def update_arm(
    count_A: np.ndarray,
    sum_A: np.ndarray,
    mean_A: np.ndarray,
    width_A: np.ndarray,
    arm: int,
    reward: float,
) -> None:
    """Add one reward to an arm, and renew its mean and its width 1 / sqrt(n), in place.

    Example:
        >>> count_A, sum_A, mean_A, width_A = (np.zeros(2) for _ in range(4))
        >>> update_arm(count_A, sum_A, mean_A, width_A, 1, 1.0)
        >>> mean_A.tolist(), width_A.tolist()
        ([0.0, 1.0], [0.0, 1.0])
    """
    count_A[arm] += 1.0
    sum_A[arm] += reward
    mean_A[arm] = sum_A[arm] / count_A[arm]
    width_A[arm] = 1.0 / np.sqrt(count_A[arm])


@numba.njit(cache=True, nogil=True)
def best_shares(
    draw_MN: np.ndarray, out_N: np.ndarray, best_M: np.ndarray, ties_M: np.ndarray
) -> np.ndarray:
    """Share of the draws in which each candidate that is not out is the best; float64 [N].

    Draws in which several are best count for each of them in equal parts. A draw whose best one is
    known and still in is not looked at again: a slot costs as many draws as its taker had won.

    Args:
        draw_MN: values of the candidates in each draw, contiguous float64, not NaN.
        out_N: boolean [N]; one at least is False.
        best_M: int64 [M], the best of each draw among candidates of which some may be out by now, or
            -1 where it is not known; updated in place.
        ties_M: int64 [M], how many are equal to it; updated in place.

    Example:
        >>> draw_MN = np.array([[1.0, 2.0, 9.0], [3.0, 3.0, 0.0]])
        >>> unknown_M = np.full(2, -1)
        >>> best_shares(draw_MN, np.array([False, False, True]), unknown_M, unknown_M.copy())
        array([0.25, 0.75, 0.  ])
    """
    n_draws, n = draw_MN.shape
    share_N = np.zeros(n)
    for m in range(n_draws):
        if best_M[m] < 0 or out_N[best_M[m]] or ties_M[m] > 1:
            top, first, ties = -np.inf, -1, 0
            for i in range(n):
                if out_N[i]:
                    continue
                value = draw_MN[m, i]
                if first < 0 or value > top:
                    top, first, ties = value, i, 1
                elif value == top:
                    ties += 1
            best_M[m], ties_M[m] = first, ties
        first, ties = best_M[m], ties_M[m]
        if ties == 1:
            share_N[first] += 1.0 / n_draws
            continue
        for i in range(first, n):
            if not out_N[i] and draw_MN[m, i] == draw_MN[m, first]:
                share_N[i] += 1.0 / (n_draws * ties)
    return share_N
