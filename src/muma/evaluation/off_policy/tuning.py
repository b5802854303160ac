"""Which clip, threshold or shrinkage: the one of least estimated mean squared error on the log.

A grid goes from the setting that changes nothing (least bias) to the one that changes most (least
variance). Against the first, setting j has a measured bias, which is itself noise of known variance:

    b_j = V_j - V_0,        mse_j = max(b_j^2 - var(b_j), 0) + var(V_j)

so a bias counts as far as the log shows it (the direct estimate of Su, Dimakopoulou, Krishnamurthy and
Dudik, ICML 2020, sec. 5, less its own noise). The choice is made on the log that is evaluated: the
interval of a tuned estimator does not cover the choice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from muma.evaluation.off_policy.estimator import Terms
from muma.evaluation.off_policy.logged import Logged
from muma.evaluation.off_policy.units import errors, units_of

_QUANTILES = (0.999, 0.995, 0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.5)


def weight_grid(weight_B: np.ndarray) -> list[float]:
    """Caps from "none" to the median of the weights above 0, largest first.

    Example:
        >>> weight_grid(np.array([0.0, 1.0, 1.0]))
        [inf, 1.0]
    """
    above_b = weight_B[weight_B > 0]
    if not len(above_b):
        return [float("inf")]
    caps = np.unique(np.quantile(above_b, _QUANTILES))[::-1]
    return [float("inf"), *caps.tolist()]


def choose(grid: Sequence[float], terms_of: Callable[[float], Terms], logged: Logged) -> Terms:
    """The terms of the setting with the least estimated mean squared error.

    Args:
        grid: settings, the one of least bias first.
        terms_of: setting -> terms.
        logged: the past, for its units.
    """
    units = units_of(logged.units_B, len(logged))
    first = terms_of(grid[0])
    best, least = first, float("inf")
    reference_U = errors(first, units)
    for setting in grid:
        terms = terms_of(setting)
        error_U = errors(terms, units)
        bias = terms.value - first.value
        noise = _variance(error_U - reference_U)
        error = max(bias**2 - noise, 0.0) + _variance(error_U)
        if error < least:
            best, least = terms, error
    return replace(best, chosen=True)


def _variance(error_U: np.ndarray) -> float:
    """Variance of the mean of independent errors with mean 0."""
    return float(error_U @ error_U) / len(error_U) ** 2
