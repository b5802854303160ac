"""Outliers by the median absolute deviation: |x - median| > threshold * 1.4826 * MAD."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from muma.events.cleaning.outliers import DwellOutliers
from muma.events.cleaning.rule import RuleConfig

NORMAL = 1.4826022185056018  # MAD of a normal sample times this is its standard deviation


class MadConfig(RuleConfig):
    """How far is too far.

    Attributes:
        threshold: robust standard deviations of log(1 + dwell).
    """

    threshold: float = Field(default=6.0, gt=0)


class MadOutliers(DwellOutliers):
    """Remove dwell times far from the median (Leys et al., 2013)."""

    name = "mad"

    def __init__(self, config: MadConfig = MadConfig()) -> None:
        super().__init__()
        self.config = config

    def bounds(self, log_dwell: np.ndarray) -> tuple[float, float]:
        """Median -+ threshold robust deviations; a MAD of zero bounds nothing."""
        middle = float(np.median(log_dwell))
        spread = NORMAL * float(np.median(np.abs(log_dwell - middle)))
        reach = self.config.threshold * spread if spread else np.inf
        return middle - reach, middle + reach
