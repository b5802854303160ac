"""Intervals from the central limit theorem, clustered by unit.

    V -+ t s / sqrt(U),        s^2 = sum_u e_u^2 / (U - 1)

with e_u the error of unit u (`units`) and t a quantile of Student's law with U - 1 degrees (delta method
for ratios; Cochran, Sampling Techniques, 1977, ch. 6). Symmetric: where few rewarded rounds carry the
estimate, prefer `muma.evaluation.off_policy.hall.Hall`.

Shape: U units.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field
from scipy.special import stdtrit

from muma.config import Config
from muma.evaluation.off_policy.estimator import Terms
from muma.evaluation.off_policy.units import Units, errors


class AsymptoticConfig(Config):
    """Settings of `Asymptotic`.

    Attributes:
        level: confidence level.
    """

    level: float = Field(default=0.95, gt=0, lt=1)


class Asymptotic:
    """Normal intervals.

    Example:
        >>> from muma.evaluation.off_policy.units import units_of
        >>> terms = {"IPS": Terms(np.array([0.0, 1.0] * 50))}
        >>> low, high = Asymptotic().bounds(terms, units_of(None, 100))["IPS"]
        >>> round(low, 2), round(high, 2)
        (0.4, 0.6)
    """

    name = "asymptotic"

    def __init__(self, config: AsymptoticConfig = AsymptoticConfig()) -> None:
        self.config = config

    @property
    def level(self) -> float:
        """Confidence level."""
        return self.config.level

    def bounds(self, terms: Mapping[str, Terms], units: Units) -> dict[str, tuple[float, float]]:
        """Ends for each estimator; NaN with fewer than two units."""
        count = units.count
        if count < 2:
            return dict.fromkeys(terms, (float("nan"), float("nan")))
        quantile = float(stdtrit(count - 1, 0.5 + self.config.level / 2))
        return {
            name: self._ends(term.value, errors(term, units), quantile)
            for name, term in terms.items()
        }

    def _ends(self, value: float, error_U: np.ndarray, quantile: float) -> tuple[float, float]:
        count = len(error_U)
        half = quantile * float(np.sqrt(error_U @ error_U / (count - 1) / count))
        return value - half, value + half
