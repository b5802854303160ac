"""Outliers by the interquartile range: outside [q1 - factor * IQR, q3 + factor * IQR]."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from muma.events.cleaning.outliers import DwellOutliers
from muma.events.cleaning.rule import RuleConfig


class IqrConfig(RuleConfig):
    """How far is too far; off by default, MAD does the same work more robustly.

    Attributes:
        factor: interquartile ranges beyond the quartiles (3 is Tukey's "far out").
    """

    enabled: bool = False
    factor: float = Field(default=3.0, gt=0)


class IqrOutliers(DwellOutliers):
    """Remove dwell times beyond Tukey's fences (Tukey, 1977)."""

    name = "iqr"

    def __init__(self, config: IqrConfig = IqrConfig()) -> None:
        super().__init__()
        self.config = config

    def bounds(self, log_dwell: np.ndarray) -> tuple[float, float]:
        """The fences; an IQR of zero bounds nothing."""
        q1, q3 = np.quantile(log_dwell, [0.25, 0.75])
        reach = self.config.factor * (q3 - q1) if q3 > q1 else np.inf
        return float(q1 - reach), float(q3 + reach)
