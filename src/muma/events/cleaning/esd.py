"""Outliers by hypothesis test: the generalised extreme Studentised deviate (Rosner, 1983).

With `max_outliers = 1` it is Grubbs' test. Null hypothesis: no outliers in a normal sample (here of
log(1 + dwell)).
"""

from __future__ import annotations

import numpy as np
from pydantic import Field
from scipy.special import stdtrit

from muma.events.cleaning.outliers import DwellOutliers
from muma.events.cleaning.rule import RuleConfig


class EsdConfig(RuleConfig):
    """The test; off by default, watch times are not normal even in logs.

    Attributes:
        alpha: significance level.
        max_share: most outliers looked for, as a share of the values.
        max_outliers: most outliers looked for, as a count.
    """

    enabled: bool = False
    alpha: float = Field(default=0.001, gt=0, lt=1)
    max_share: float = Field(default=0.01, gt=0, lt=0.5)
    max_outliers: int = Field(default=1_000, gt=0)


class EsdOutliers(DwellOutliers):
    """Remove dwell times that the generalised ESD test rejects."""

    name = "esd"

    def __init__(self, config: EsdConfig = EsdConfig()) -> None:
        super().__init__()
        self.config = config

    def bounds(self, log_dwell: np.ndarray) -> tuple[float, float]:
        """Range of the values that stay."""
        most = min(self.config.max_outliers, int(self.config.max_share * len(log_dwell)))
        low, high = generalised_esd(log_dwell, max_outliers=most, alpha=self.config.alpha)
        kept = np.sort(log_dwell)[low : len(log_dwell) - high]
        return float(kept[0]) if low else -np.inf, float(kept[-1]) if high else np.inf


def generalised_esd(
    values: np.ndarray, *, max_outliers: int, alpha: float = 0.05
) -> tuple[int, int]:
    """How many of the smallest and of the largest values are outliers.

    The most extreme value is always one of the two ends, so sorted cumulative sums give every
    step's mean and deviation: O(n log n) in all.

    Args:
        values: sample, shape [n], n >= 3.
        max_outliers: most outliers to look for.
        alpha: significance level of the whole test.

    Returns:
        Counts (low, high) of outliers at either end.

    Example:
        >>> generalised_esd(np.array([1.0, 1.1, 0.9, 1.0, 1.05, 0.95, 9.0]), max_outliers=2)
        (0, 1)
    """
    x = np.sort(np.asarray(values, dtype=np.float64))
    n = len(x)
    x = x - np.median(x)
    total, squares = np.cumsum(np.r_[0.0, x]), np.cumsum(np.r_[0.0, x * x])
    low, high, best = 0, 0, (0, 0)
    for i in range(1, min(max_outliers, n - 2) + 1):
        a, b = low, n - high
        left = b - a
        mean = (total[b] - total[a]) / left
        variance = ((squares[b] - squares[a]) - left * mean * mean) / (left - 1)
        if variance <= 0:
            break
        down, up = mean - x[a], x[b - 1] - mean
        deviate = max(down, up) / np.sqrt(variance)
        if down > up:
            low += 1
        else:
            high += 1
        t = stdtrit(n - i - 1, 1 - alpha / (2 * (n - i + 1)))
        critical = (n - i) * t / np.sqrt((n - i - 1 + t * t) * (n - i + 1))
        if deviate > critical:
            best = (low, high)
    return best
