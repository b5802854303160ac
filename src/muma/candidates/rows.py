"""Weighted sums of rows of a matrix: how a history becomes scores in models that keep one row an item.

Shape: F fitted items, L interactions, Z cells of a sparse matrix.
"""

from __future__ import annotations

import numba
import numpy as np
from scipy.sparse import csr_array

_BLOCK = 2048  # sums made at a time: they stay in the nearest cache


def summed_rows(row_FF: csr_array, item_L: np.ndarray, weight_L: np.ndarray) -> np.ndarray:
    """Weighted sum of rows of a sparse matrix, float32 [F]; the rows' own storage, nothing copied whole.

    Products are of the matrix' own type, sums are float64.

    Example:
        >>> summed_rows(csr_array(np.eye(3)), np.array([0, 2, 2]), np.ones(3)).tolist()
        [1.0, 0.0, 2.0]
    """
    weight_L = weight_L.astype(row_FF.data.dtype)
    return _sparse(row_FF.data, row_FF.indices, row_FF.indptr, item_L, weight_L)


def summed_dense(row_FF: np.ndarray, item_L: np.ndarray, weight_L: np.ndarray) -> np.ndarray:
    """Weighted sum of rows of a matrix, one row after the other in its own type: [F].

    Example:
        >>> summed_dense(np.eye(3), np.array([0, 2, 2]), np.ones(3)).tolist()
        [1.0, 0.0, 2.0]
    """
    return _dense(row_FF, item_L, weight_L.astype(row_FF.dtype))


@numba.njit(cache=True, nogil=True)
def _sparse(
    data_Z: np.ndarray,
    column_Z: np.ndarray,
    start_F: np.ndarray,
    item_L: np.ndarray,
    weight_L: np.ndarray,
) -> np.ndarray:
    sum_F = np.zeros(len(start_F) - 1)  # it is square
    for place in range(len(item_L)):
        weight = weight_L[place]
        for cell in range(start_F[item_L[place]], start_F[item_L[place] + 1]):
            sum_F[column_Z[cell]] += weight * data_Z[cell]
    return sum_F.astype(np.float32)


@numba.njit(cache=True, nogil=True)
def _dense(row_FF: np.ndarray, item_L: np.ndarray, weight_L: np.ndarray) -> np.ndarray:
    width = row_FF.shape[1]
    sum_F = np.zeros(width, dtype=row_FF.dtype)
    for begin in range(0, width, _BLOCK):
        part_F = sum_F[begin : begin + _BLOCK]
        for place in range(len(item_L)):
            weight, row_F = weight_L[place], row_FF[item_L[place], begin : begin + _BLOCK]
            for f in range(len(part_F)):
                part_F[f] += weight * row_F[f]
    return sum_F
