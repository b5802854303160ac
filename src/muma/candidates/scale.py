"""Scale of one user's scores: sources differ in it, and a source's own changes with every fit.

    z_i = (s_i - mean_i s_i) / sd_i s_i

Shape: I items of the vocabulary.
"""

from __future__ import annotations

import numpy as np


def scale_of(score_I: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of the finite scores, in float64.

    Without any, or without a difference, the deviation is 1, so that z is 0 wherever there is a score.

    Example:
        >>> scale_of(np.array([1.0, 3.0, -np.inf]))
        (2.0, 1.0)
    """
    value_n = score_I[np.isfinite(score_I)].astype(np.float64)
    if not len(value_n):
        return 0.0, 1.0
    mean = float(value_n.mean())
    value_n -= mean
    deviation = float(np.sqrt(value_n @ value_n / len(value_n)))
    return mean, deviation if deviation > 0 else 1.0


def standardised(score_n: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """Z of some scores, float32 [n]; NaN where there is no finite score.

    Example:
        >>> standardised(np.array([3.0, -np.inf]), (2.0, 1.0)).tolist()
        [1.0, nan]
    """
    mean, deviation = scale
    z_n = (score_n.astype(np.float64) - mean) / deviation
    return np.where(np.isfinite(z_n), z_n, np.nan).astype(np.float32)
