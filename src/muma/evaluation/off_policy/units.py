"""Terms summed over what belongs together: the sums that intervals are made of.

Rounds of one user are not independent; sums over users are. The estimate's error is, to first order,
the mean of

    e_u = (N_u - V D_u) / mean(D)

over units u (the linearised ratio; Cochran, Sampling Techniques, 1977, ch. 6).

Shape: B rounds, U units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muma.evaluation.off_policy.estimator import Terms


@dataclass(frozen=True)
class Units:
    """Which unit every round belongs to.

    Attributes:
        place_B: int64 [B], from 0; None where every round is a unit of its own.
        count: U.
    """

    place_B: np.ndarray | None
    count: int

    def sums(self, value_B: np.ndarray) -> np.ndarray:
        """Sum of a value over the rounds of each unit, float64 [U]."""
        if self.place_B is None:
            return value_B
        return np.bincount(self.place_B, weights=value_B, minlength=self.count)


def units_of(unit_B: np.ndarray | None, n: int) -> Units:
    """Number the units from 0.

    Example:
        >>> units_of(np.array([7, 3, 7]), 3).sums(np.array([1.0, 2.0, 4.0])).tolist()
        [2.0, 5.0]
    """
    if unit_B is None:
        return Units(None, n)
    names, place_B = np.unique(unit_B, return_inverse=True)
    return Units(place_B, len(names))


def ratio_sums(terms: Terms, units: Units) -> tuple[np.ndarray, np.ndarray]:
    """Numerators and denominators by unit, each float64 [U]."""
    numerator_U = units.sums(terms.numerator_B)
    if terms.denominator_B is not None:
        return numerator_U, units.sums(terms.denominator_B)
    if units.place_B is None:
        return numerator_U, np.ones(units.count)
    return numerator_U, np.bincount(units.place_B, minlength=units.count).astype(np.float64)


def errors(terms: Terms, units: Units) -> np.ndarray:
    """Linearised error of each unit, float64 [U]; their mean is 0, their spread the estimate's.

    Example:
        >>> errors(Terms(np.array([0.0, 1.0])), units_of(None, 2)).tolist()
        [-0.5, 0.5]
    """
    if terms.denominator_B is None and units.place_B is None:
        return terms.numerator_B - terms.numerator_B.mean()
    numerator_U, denominator_U = ratio_sums(terms, units)
    scale = denominator_U.mean()
    if scale == 0:
        return np.full(units.count, np.nan)
    return (numerator_U - terms.value * denominator_U) / scale
