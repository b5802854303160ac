"""Population stability index: how far a histogram moved.

    PSI = sum over bins of (q - p) ln(q / p),   p reference share, q current share

It is the symmetric Kullback-Leibler divergence of the two histograms, missing values being a bin.
Shares are smoothed by half an event a bin, so that an empty bin is not infinite.

Reference: Siddiqi, "Credit risk scorecards", 2006, from where the rules of thumb 0.1 and 0.25 come;
Yurdakul and Naranjo, "Statistical properties of the population stability index", 2020: its size
without drift grows with bins / events, so that a fixed threshold means something else in each window.

Shape: C bins.
"""

from __future__ import annotations

import numpy as np

MODERATE, MAJOR = 0.1, 0.25  # the rules of thumb, shown beside the calibrated thresholds


def psi(reference_C: np.ndarray, current_C: np.ndarray) -> np.ndarray:
    """Index from counts; leading axes are kept.

    Args:
        reference_C: events of the reference in each bin [..., C].
        current_C: events of the current window in each bin [..., C].

    Returns:
        float64 [...], 0 or more; bins that are empty in both count nothing.

    Example:
        >>> round(float(psi(np.array([500, 500]), np.array([800, 200]))), 2)
        0.41
    """
    used_C = (reference_C > 0) | (current_C > 0)
    p_C, q_C = _shares(reference_C, used_C), _shares(current_C, used_C)
    part_C = (q_C - p_C) * np.log(np.where(used_C, q_C / p_C, 1.0))
    return np.where(used_C, part_C, 0.0).sum(axis=-1)


def _shares(count_C: np.ndarray, used_C: np.ndarray) -> np.ndarray:
    smoothed_C = np.where(used_C, count_C + 0.5, 0.0)
    total = smoothed_C.sum(axis=-1, keepdims=True)
    return np.where(used_C, smoothed_C / np.where(total > 0, total, 1.0), 1.0)
