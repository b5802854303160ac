"""Expected calibration error: how far predicted probabilities are from observed rates.

    ECE = sum over bins of (n_b / N) |mean label in b - mean probability in b|

(Naeini et al., AAAI 2015.) Bins are of equal width over [0, 1], or of equal mass: equally many
rows in each, where rows of one probability are never split.

Shape: N rows, M bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.evaluation.metrics.auc import check_labels
from muma.evaluation.metrics.log_loss import check_probabilities

Bins = Literal["width", "mass"]


@dataclass(frozen=True)
class Reliability:
    """What a reliability diagram shows.

    Attributes:
        count_M: rows in each bin.
        probability_M: their mean probability; NaN for an empty bin.
        rate_M: their share of label 1; NaN for an empty bin.
    """

    count_M: np.ndarray
    probability_M: np.ndarray
    rate_M: np.ndarray


def reliability(
    label_N: np.ndarray, probability_N: np.ndarray, *, n_bins: int = 15, bins: Bins = "width"
) -> Reliability:
    """Count, mean probability and observed rate in each of `n_bins` bins.

    Raises:
        DataError: lengths differ, a label is not 0 or 1, or a probability is outside [0, 1].

    Example:
        >>> reliability(np.array([0, 1]), np.array([0.1, 0.9]), n_bins=2).rate_M.tolist()
        [0.0, 1.0]
    """
    label_N = check_labels(label_N, probability_N)
    probability_N = check_probabilities(probability_N).astype(np.float64)
    if bins == "width":
        bin_N = np.minimum((probability_N * n_bins).astype(np.int64), n_bins - 1)
    else:
        below_N = np.searchsorted(np.sort(probability_N), probability_N, side="left")
        bin_N = below_N * n_bins // max(len(below_N), 1)
    count_M = np.bincount(bin_N, minlength=n_bins)
    divisor_M = np.where(count_M > 0, count_M, np.nan)
    return Reliability(
        count_M,
        np.bincount(bin_N, weights=probability_N, minlength=n_bins) / divisor_M,
        np.bincount(bin_N, weights=label_N, minlength=n_bins) / divisor_M,
    )


def calibration_error(
    label_N: np.ndarray, probability_N: np.ndarray, *, n_bins: int = 15, bins: Bins = "width"
) -> float:
    """Expected calibration error in [0, 1]; NaN without rows.

    Raises:
        DataError: lengths differ, a label is not 0 or 1, or a probability is outside [0, 1].

    Example:
        >>> calibration_error(np.array([0, 1, 1, 1]), np.array([0.75, 0.75, 0.75, 0.75]))
        0.0
    """
    table = reliability(label_N, probability_N, n_bins=n_bins, bins=bins)
    total = table.count_M.sum()
    if total == 0:
        return float("nan")
    return float(np.nansum(table.count_M / total * np.abs(table.rate_M - table.probability_M)))


class CalibrationConfig(Config):
    """Options of `CalibrationError`: number of bins, and whether of equal width or mass."""

    n_bins: int = Field(default=15, ge=1)
    bins: Bins = "width"


class CalibrationError:
    """Expected calibration error, see `calibration_error`."""

    def __init__(self, config: CalibrationConfig | None = None) -> None:
        self.config = config or CalibrationConfig()
        self.name = f"ece-{self.config.bins}-{self.config.n_bins}"

    def pointwise(self, label_N: np.ndarray, score_N: np.ndarray) -> float:
        """Expected calibration error; NaN without rows."""
        return calibration_error(label_N, score_N, n_bins=self.config.n_bins, bins=self.config.bins)
