"""A user's factors from a history in hand: one weighted least-squares step with the items held fixed.

    p = (G + sum_l (c_l - 1) q_l q_l')^-1 sum_l c_l q_l,      score_f = p . q_f

G is the items' Gram matrix with its penalty. The matrix is symmetric and positive definite, so that
Cholesky's factors solve it. All sums are float64, in an order of their own.

Shape: F fitted items, L interactions, D factors.
"""

from __future__ import annotations

import math

import numba
import numpy as np

_BLOCK = 512  # sums made at a time: they stay in the nearest cache


def folded(
    item_DF: np.ndarray, gram_DD: np.ndarray, item_L: np.ndarray, confidence_L: np.ndarray
) -> np.ndarray:
    """Scores of every item, float32 [F].

    Args:
        item_DF: factors, float32 or float64; a row a factor, so that sums of many items go side by side.
        gram_DD: float64.
        item_L: places of different items, int64.
        confidence_L: float64, above 0.
    """
    left_DD, right_D = _normal(item_DF, gram_DD, item_L, confidence_L)
    user_D, solved = _solved(left_DD.copy(), right_D)
    if not solved:
        user_D = np.linalg.solve(left_DD, right_D)
    return _products(item_DF, user_D)


@numba.njit(cache=True, nogil=True)
def _normal(
    item_DF: np.ndarray, gram_DD: np.ndarray, item_L: np.ndarray, confidence_L: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Both sides of the normal equations."""
    factors = gram_DD.shape[0]
    left_DD, right_D = gram_DD.copy(), np.zeros(factors)
    mine_D = np.empty(factors)
    for place in range(len(item_L)):
        confidence = confidence_L[place]
        mine_D[:] = item_DF[:, item_L[place]]
        for d in range(factors):
            right_D[d] += confidence * mine_D[d]
        for row in range(factors):
            weight, left_D = (confidence - 1.0) * mine_D[row], left_DD[row]
            for d in range(factors):
                left_D[d] += weight * mine_D[d]
    return left_DD, right_D


@numba.njit(cache=True, nogil=True)
def _solved(left_DD: np.ndarray, right_D: np.ndarray) -> tuple[np.ndarray, bool]:
    """Solution of a positive definite system, which is overwritten; false if it is not one."""
    factors = len(right_D)
    for column in range(factors):  # upper factor, a row at a time: left = U' U
        pivot = left_DD[column, column]
        if not pivot > 0.0:
            return right_D, False
        root = math.sqrt(pivot)
        first_D = left_DD[column]
        for d in range(column, factors):
            first_D[d] /= root
        for row in range(column + 1, factors):
            weight, row_D = first_D[row], left_DD[row]
            for d in range(row, factors):
                row_D[d] -= weight * first_D[d]
    user_D = right_D.copy()
    for row in range(factors):  # U' y = right
        user_D[row] /= left_DD[row, row]
        for d in range(row + 1, factors):
            user_D[d] -= left_DD[row, d] * user_D[row]
    for row in range(factors - 1, -1, -1):  # U p = y
        for d in range(row + 1, factors):
            user_D[row] -= left_DD[row, d] * user_D[d]
        user_D[row] /= left_DD[row, row]
    return user_D, True


@numba.njit(cache=True, nogil=True)
def _products(item_DF: np.ndarray, user_D: np.ndarray) -> np.ndarray:
    score_F, sum_F = np.empty(item_DF.shape[1], dtype=np.float32), np.empty(_BLOCK)
    for begin in range(0, len(score_F), _BLOCK):
        part_F = sum_F[: min(_BLOCK, len(score_F) - begin)]
        part_F[:] = 0.0
        for d in range(len(user_D)):
            weight, row_F = user_D[d], item_DF[d, begin : begin + _BLOCK]
            for f in range(len(part_F)):
                part_F[f] += weight * row_F[f]
        score_F[begin : begin + _BLOCK] = part_F
    return score_F
