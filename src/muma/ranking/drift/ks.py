"""Two-sample Kolmogorov-Smirnov distance, from rows or from counts.

    D = sup over x of |F(x) - G(x)|

Missing values stand apart (their share has a check of its own). The asymptotic p-value holds for
continuous values of independent rows; for ties it is too large, for rows that hang together too small.
Thresholds of the monitor therefore come from resampling, and this p-value is only shown.

Reference: Smirnov, "Table for estimating the goodness of fit of empirical distributions", 1948.

Shape: n and m values, L slots.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import kstwobign


def ks_test(reference_n: np.ndarray, current_m: np.ndarray) -> tuple[float, float]:
    """Distance of two samples and its asymptotic p-value; NaN when a sample holds no value.

    Example:
        >>> ks_test(np.array([1.0, 2.0, np.nan]), np.array([3.0, 4.0]))[0]
        1.0
    """
    a, b = (np.sort(v[~np.isnan(v)]) for v in (reference_n, current_m))
    if not len(a) or not len(b):
        return float("nan"), float("nan")
    at = np.concatenate([a, b])
    gap = np.searchsorted(a, at, side="right") / len(a) - np.searchsorted(
        b, at, side="right"
    ) / len(b)
    distance = float(np.abs(gap).max())
    return distance, float(ks_p_value(np.array(distance), len(a), len(b)))


def ks_from_counts(reference_L: np.ndarray, current_L: np.ndarray) -> np.ndarray:
    """Distance at the edges of ordered slots [..., L]: float64 [...], 0 when a side is empty.

    Exact where each distinct value has a slot; else at most the share of one slot below the distance
    of the rows.
    """
    gap_L = cumulative(reference_L) - cumulative(current_L)
    empty = (reference_L.sum(axis=-1) == 0) | (current_L.sum(axis=-1) == 0)
    return np.where(empty, 0.0, np.abs(gap_L).max(axis=-1, initial=0.0))


def cumulative(count_L: np.ndarray) -> np.ndarray:
    """Distribution function at the upper edges of slots: float64 [..., L]."""
    total = count_L.sum(axis=-1, keepdims=True)
    return np.cumsum(count_L, axis=-1) / np.where(total > 0, total, 1.0)


def ks_p_value(distance: np.ndarray, n: np.ndarray | int, m: np.ndarray | int) -> np.ndarray:
    """Asymptotic p-value of a distance between samples of `n` and `m` independent values."""
    n, m = np.asarray(n, dtype=np.float64), np.asarray(m, dtype=np.float64)
    return kstwobign.sf(distance * np.sqrt(n * m / np.maximum(n + m, 1)))
