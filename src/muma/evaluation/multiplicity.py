"""False discoveries among many tests (Holm's correction lives beside the paired tests).

    adjusted p of rank k = min over j >= k of  M p_(j) / j

Rejecting below q keeps the expected share of false rejections at most q when tests are independent or
positively dependent (Benjamini and Hochberg, JRSS B 1995). Holm keeps the chance of any at most q.

Shape: M tests.
"""

from __future__ import annotations

import numpy as np


def benjamini_hochberg(p_M: np.ndarray) -> np.ndarray:
    """P-values corrected for the false discovery rate; NaN stays NaN and is not counted as a test.

    Example:
        >>> benjamini_hochberg(np.array([0.01, 0.04, np.nan, 0.03])).round(3).tolist()
        [0.03, 0.04, nan, 0.04]
    """
    p_M = np.asarray(p_M, dtype=np.float64)
    order = np.argsort(p_M)[: np.count_nonzero(~np.isnan(p_M))]
    adjusted_M = np.full(len(p_M), np.nan)
    scaled = p_M[order] * len(order) / np.arange(1, len(order) + 1)
    adjusted_M[order] = np.minimum.accumulate(scaled[::-1])[::-1]
    return adjusted_M
