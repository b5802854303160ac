"""How strong must a hidden cause be to undo the finding?

The E-value is the least risk ratio that an unmeasured covariate would need with treatment and with
outcome, beyond the measured ones, to explain the estimate away (VanderWeele and Ding, Annals of Internal
Medicine 2017):

    E = r + sqrt(r (r - 1)),  r the risk ratio, or its inverse if below 1

A difference of means becomes r = exp(0.91 difference / sd); a difference of risks becomes the ratio of the
two, its limit with the untreated risk taken as known.

Rosenbaum's bounds are for matched pairs whose controls serve once: with a hidden cause that multiplies the
odds of treatment by at most G within a pair, the one-sided p-value of Wilcoxon's signed ranks is at most
that of a sum of ranks, each positive with chance G / (1 + G) (Rosenbaum, Observational Studies, 2002, ch. 4).

Shape: M pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm, rankdata

from muma.errors import DataError

_MOST = 1e4


@dataclass(frozen=True)
class EValue:
    """E-values of an estimate and of the end of its interval nearest to no effect.

    Attributes:
        point: at least 1.
        limit: 1 if the interval holds no effect; NaN without an interval.
        risk_ratio: what they are computed from.
    """

    point: float
    limit: float
    risk_ratio: float


def e_value(risk_ratio: float) -> float:
    """E-value of a risk ratio; NaN if it is not positive.

    Example:
        >>> round(e_value(3.9), 2), round(e_value(1 / 3.9), 2), e_value(1.0)
        (7.26, 7.26, 1.0)
    """
    if not risk_ratio > 0:
        return float("nan")
    ratio = max(risk_ratio, 1 / risk_ratio)
    return float(ratio + np.sqrt(ratio * (ratio - 1)))


def e_value_of_means(effect: float, low: float, high: float, *, spread: float) -> EValue:
    """E-values of a difference of means.

    Args:
        effect: the estimate, in the outcome's unit.
        low: lower end of its interval.
        high: upper end of its interval.
        spread: standard deviation of the outcome, above 0; else all is NaN.
    """
    if not spread > 0:
        return EValue(float("nan"), float("nan"), float("nan"))

    def ratio(value: float) -> float:
        return float(np.exp(np.clip(0.91 * value / spread, -500, 500)))

    return _evalue(ratio(effect), effect, low, high, ratio)


def e_value_of_risks(treated: float, untreated: float, low: float, high: float) -> EValue:
    """E-values of a difference of risks `treated - untreated` with interval [low, high].

    NaN where a risk is not in (0, 1].
    """
    if not 0 < untreated <= 1 or not 0 < treated <= 1:
        return EValue(float("nan"), float("nan"), float("nan"))
    effect = treated - untreated

    def ratio(value: float) -> float:
        return (untreated + value) / untreated

    return _evalue(treated / untreated, effect, low, high, ratio)


def _evalue(
    ratio: float, effect: float, low: float, high: float, of: Callable[[float], float]
) -> EValue:
    if not (np.isfinite(low) and np.isfinite(high)):
        return EValue(e_value(ratio), float("nan"), ratio)
    limit = 1.0 if low <= 0 <= high else e_value(of(low if effect > 0 else high))
    return EValue(e_value(ratio), limit, ratio)


def rosenbaum_p(difference_M: np.ndarray, gamma: float) -> float:
    """Largest one-sided p-value, in the direction of the mean difference, under hidden bias `gamma`.

    Normal approximation with mid-ranks; differences of 0 are dropped.

    Raises:
        DataError: `gamma` is below 1, or there is no difference other than 0.

    Example:
        >>> pairs = np.arange(1.0, 31.0)
        >>> rosenbaum_p(pairs, 1.0) < rosenbaum_p(pairs, 3.0) < 0.01
        True
    """
    rank_M, positive = _ranks(difference_M)
    if not gamma >= 1:
        raise DataError(f"gamma is {gamma}; it must be 1 (no hidden bias) or more")
    chance = gamma / (1 + gamma)
    mean, variance = chance * rank_M.sum(), chance * (1 - chance) * np.sum(rank_M**2)
    return float(norm.sf((positive - mean) / np.sqrt(variance)))


def rosenbaum_gamma(difference_M: np.ndarray, *, alpha: float = 0.025) -> float:
    """The hidden bias at which the finding stops being significant (one-sided `alpha`).

    1 if it is not even without; the search ends at 10,000.

    Raises:
        DataError: there is no difference other than 0.
    """
    if rosenbaum_p(difference_M, 1.0) >= alpha:
        return 1.0
    if rosenbaum_p(difference_M, _MOST) < alpha:
        return _MOST
    found = brentq(lambda g: rosenbaum_p(difference_M, g) - alpha, 1.0, _MOST, xtol=1e-6)
    return float(np.asarray(found))


def _ranks(difference_M: np.ndarray) -> tuple[np.ndarray, float]:
    """Ranks of |difference| and the sum of those with the sign of the mean."""
    difference_M = np.asarray(difference_M, np.float64)
    difference_M = difference_M[difference_M != 0]
    if not len(difference_M):
        raise DataError("every pair is equal; there is no finding to be sensitive")
    rank_M = rankdata(np.abs(difference_M))
    sign = 1.0 if difference_M.mean() >= 0 else -1.0
    return rank_M, float(rank_M[sign * difference_M > 0].sum())
