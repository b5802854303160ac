"""Empirical-Bernstein intervals: they hold for any number of rounds, and are wide for it.

For independent X_u in an interval of width R, with probability at least 1 - d,

    mean(E X) <= mean(X) + sqrt(2 var(X) ln(2/d) / U) + 7 R ln(2/d) / (3 (U - 1))

(Maurer and Pontil, COLT 2009, theorems 4 and 11), used on both sides with d = (1 - level) / 2. The
bound R must be known before the log is seen: rewards in `reward_range`, weights at most `weight_bound`
(for instance 1 over the floor of the logging policy's propensities) or the estimator's own cap. Means
of fixed settings have such a bound; ratios (SNIPS), beta*-IPS and settings chosen on the log have not,
and get NaN.

Shape: B rounds, U units.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field, model_validator

from muma.config import Config
from muma.errors import DataError
from muma.evaluation.off_policy.estimator import Terms
from muma.evaluation.off_policy.units import Units


class BernsteinConfig(Config):
    """Settings of `Bernstein`.

    Attributes:
        weight_bound: largest weight the two policies can give a round, stated beforehand.
        reward_range: least and largest reward.
        level: confidence level.
    """

    weight_bound: float = Field(gt=0)
    reward_range: tuple[float, float] = (0.0, 1.0)
    level: float = Field(default=0.95, gt=0, lt=1)

    @model_validator(mode="after")
    def _ordered(self) -> BernsteinConfig:
        if self.reward_range[0] >= self.reward_range[1]:
            raise ValueError(f"reward_range is {self.reward_range}; allowed is (least, largest)")
        return self


class Bernstein:
    """Intervals of finite samples, for estimators whose terms are bounded.

    Example:
        >>> from muma.evaluation.off_policy.units import units_of
        >>> terms = {"IPS": Terms(np.array([0.0, 1.0] * 5000))}
        >>> interval = Bernstein(BernsteinConfig(weight_bound=1.0))
        >>> low, high = interval.bounds(terms, units_of(None, 10_000))["IPS"]
        >>> round(low, 3), round(high, 3)
        (0.484, 0.516)
    """

    name = "empirical Bernstein"

    def __init__(self, config: BernsteinConfig) -> None:
        self.config = config

    @property
    def level(self) -> float:
        """Confidence level."""
        return self.config.level

    def bounds(self, terms: Mapping[str, Terms], units: Units) -> dict[str, tuple[float, float]]:
        """Ends for each estimator; NaN where terms have no bound known beforehand.

        Raises:
            DataError: a term lies outside the stated bounds, so a reward, a prediction or a weight does.
        """
        return {name: self._bounds(name, term, units) for name, term in terms.items()}

    def _bounds(self, name: str, terms: Terms, units: Units) -> tuple[float, float]:
        limits = term_range(terms, self.config)
        if limits is None or units.count < 2:
            return float("nan"), float("nan")
        low, high = limits
        slack = 1e-9 * max(abs(low), abs(high))
        least, most = float(terms.numerator_B.min()), float(terms.numerator_B.max())
        if least < low - slack or most > high + slack:
            raise DataError(
                f"{name}: terms go from {least:.4g} to {most:.4g}, outside [{low:.4g}, {high:.4g}], "
                f"which weights up to {self.config.weight_bound:g} and rewards in "
                f"{self.config.reward_range} allow; state bounds that hold"
            )
        n, count = len(terms.numerator_B), units.count
        size_U = units.sums(np.ones(n))
        scaled_U = units.sums(terms.numerator_B) * (count / n)
        width = max(high * size_U.max(), high * size_U.min())
        width -= min(low * size_U.max(), low * size_U.min())
        width *= count / n
        log = float(np.log(4 / (1 - self.config.level)))
        half = np.sqrt(2 * scaled_U.var(ddof=1) * log / count) + 7 * width * log / (3 * (count - 1))
        return terms.value - float(half), terms.value + float(half)


def term_range(terms: Terms, config: BernsteinConfig) -> tuple[float, float] | None:
    """Least and largest term of a round; None where no bound is known beforehand.

    Example:
        >>> term_range(Terms(np.zeros(1), weight_cap=3.0), BernsteinConfig(weight_bound=10.0))
        (0.0, 3.0)
    """
    if terms.chosen or np.isnan(terms.weight_cap) or terms.denominator_B is not None:
        return None
    weight = min(config.weight_bound, terms.weight_cap)
    low, high = config.reward_range
    if terms.residual:
        return low - weight * (high - low), high + weight * (high - low)
    return min(0.0, weight * low), max(0.0, weight * high)
