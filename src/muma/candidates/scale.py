"""Scale of one user's scores: sources differ in it, and a source's own changes with every fit.

    z_i = (s_i - mean_i s_i) / sd_i s_i

Sums are taken in a fixed order of their own, so that no library and no length of vector registers can
change a bit.

Shape: I items of the vocabulary.
"""

from __future__ import annotations

import math

import numba
import numpy as np

_LANES = 64  # sums kept side by side, so that none waits for another


def scale_of(score_I: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of the finite scores, in float64.

    Without any, or without a difference, the deviation is 1, so that z is 0 wherever there is a score.

    Example:
        >>> scale_of(np.array([1.0, 3.0, -np.inf]))
        (2.0, 1.0)
    """
    return moments(score_I)


def standardised(score_n: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """Z of some scores, float32 [n]; NaN where there is no finite score.

    Example:
        >>> standardised(np.array([3.0, -np.inf]), (2.0, 1.0)).tolist()
        [1.0, nan]
    """
    return _all_z(score_n, *scale)


@numba.njit(cache=True, nogil=True)
def moments(score_I: np.ndarray) -> tuple[float, float]:
    """`scale_of`, for kernels."""
    sum_l, count = np.zeros(_LANES), 0
    for begin in range(0, len(score_I), _LANES):
        part_l = score_I[begin : begin + _LANES]
        for j in range(len(part_l)):
            value = np.float64(part_l[j])
            finite = abs(value) < np.inf
            sum_l[j] += value if finite else 0.0
            count += finite
    if count == 0:
        return 0.0, 1.0
    mean = _total(sum_l) / count
    sum_l[:] = 0.0
    for begin in range(0, len(score_I), _LANES):
        part_l = score_I[begin : begin + _LANES]
        for j in range(len(part_l)):
            apart = np.float64(part_l[j]) - mean
            sum_l[j] += apart * apart if abs(apart) < np.inf else 0.0
    deviation = math.sqrt(_total(sum_l) / count)
    return mean, deviation if deviation > 0 else 1.0


@numba.njit(cache=True, nogil=True)
def _total(sum_l: np.ndarray) -> float:
    total = 0.0
    for value in sum_l:
        total += value
    return total


@numba.njit(cache=True, nogil=True)
def z_of(score: float, mean: float, deviation: float) -> np.float32:
    """Z of one score; NaN if it is not finite."""
    z = (np.float64(score) - mean) / deviation
    return np.float32(z) if math.isfinite(z) else np.float32(np.nan)


@numba.njit(cache=True, nogil=True)
def _all_z(score_n: np.ndarray, mean: float, deviation: float) -> np.ndarray:
    z_n = np.empty(len(score_n), dtype=np.float32)
    for n in range(len(score_n)):
        z_n[n] = z_of(score_n[n], mean, deviation)
    return z_n
