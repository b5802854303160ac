"""Intervals whose two tails are even although few rounds carry the estimate.

The Studentised error T of a skewed mean is skewed itself, so that a symmetric interval misses high
values far more often than low ones. Hall's monotone cubic takes the skewness out,

    g(T) = T + a T^2 / 3 + a^2 T^3 / 27 + a / 6,        a = skewness of e_u / sqrt(U)

g(T) is closer to Student's law, and g has the closed inverse
g^-1(x) = 3 / a * ((1 + a (x - a / 6))^(1/3) - 1) (P. Hall, On the removal of skewness by transformation,
Journal of the Royal Statistical Society B 54, 1992). The interval is that of `Asymptotic` when a = 0.

Shape: U units.
"""

from __future__ import annotations

import numpy as np

from muma.evaluation.off_policy.asymptotic import Asymptotic

STRAIGHT = 1e-9
"""A smaller `a` is taken for 0; the cubic's inverse would only lose digits."""


class Hall(Asymptotic):
    """Normal intervals with the skewness taken out.

    Example:
        >>> from muma.evaluation.off_policy.estimator import Terms
        >>> from muma.evaluation.off_policy.units import units_of
        >>> terms = {"IPS": Terms(np.array([0.0] * 95 + [1.0] * 5))}
        >>> low, high = Hall().bounds(terms, units_of(None, 100))["IPS"]
        >>> round(low, 3), round(high, 3)
        (0.016, 0.123)
    """

    name = "Hall"

    def _ends(self, value: float, error_U: np.ndarray, quantile: float) -> tuple[float, float]:
        count = len(error_U)
        spread = float(np.sqrt(error_U @ error_U / (count - 1)))
        step = spread / count**0.5
        bend = float((error_U**3).mean()) / spread**3 / count**0.5 if spread > 0 else 0.0
        low, high = (_straightened(x, bend) for x in (quantile, -quantile))
        return value - step * low, value - step * high


def _straightened(x: float, bend: float) -> float:
    """g^-1(x)."""
    if abs(bend) < STRAIGHT:
        return x
    return 3 / bend * float(np.cbrt(1 + bend * (x - bend / 6)) - 1)
