"""A policy against another on one log: the difference of two estimates, paired unit by unit.

Both estimates are ratios of sums over the same units, so the difference of their linearised errors is
the error of the difference; what the two policies share cancels.

    Delta = V - V',        var(Delta) = 1 / (U (U - 1)) sum_u (e_u - e'_u)^2

Shape: B rounds, U units.
"""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

from muma.errors import ConfigError, DataError
from muma.evaluation.off_policy.estimator import Terms
from muma.evaluation.off_policy.units import Units, errors, units_of
from muma.evaluation.result import Result


def paired_gain(
    terms: Terms,
    other: Terms | None,
    unit_B: np.ndarray | None,
    *,
    level: float = 0.95,
    label: str = "",
) -> Result:
    """Estimate less the other estimate, with a t interval over units.

    Args:
        terms: of the policy that is asked about.
        other: of the policy it is compared with, on the same rounds; None for 0, which gives the
            value itself. `Terms(reward_B)` is the policy that acted.
        unit_B: what belongs together; None: each round.
        level: confidence level in (0, 1).
        label: of the result.

    Returns:
        The difference in units of the reward; NaN ends with fewer than two units. `effective_n` is
        the Kish size of `terms`' weights, unit by unit.

    Raises:
        DataError: the two have different numbers of rounds.
        ConfigError: `level` is out of range.

    Example:
        >>> both = paired_gain(Terms(np.array([1.0, 2, 3])), Terms(np.array([0.0, 1, 2])), None)
        >>> both.value, both.low, both.high
        (1.0, 1.0, 1.0)
    """
    if not 0 < level < 1:
        raise ConfigError(f"level is {level}; allowed is (0, 1)")
    units = units_of(unit_B, len(terms.numerator_B))
    value, error_U = paired_errors(terms, other, units)
    weight_U = np.ones(units.count) if terms.weight_B is None else units.sums(terms.weight_B)
    squares = float(weight_U @ weight_U)
    effective = float(weight_U.sum() ** 2 / squares) if squares > 0 else 0.0
    half = float("nan")
    if units.count > 1:
        half = standard_error(error_U) * float(stdtrit(units.count - 1, (1 + level) / 2))
    return Result(value, value - half, value + half, units.count, effective, label)


def paired_errors(terms: Terms, other: Terms | None, units: Units) -> tuple[float, np.ndarray]:
    """The difference, and each unit's part in its error, float64 [U] with mean 0.

    Raises:
        DataError: the two have different numbers of rounds.
    """
    if other is None:
        return terms.value, errors(terms, units)
    if len(other.numerator_B) != len(terms.numerator_B):
        raise DataError(
            f"cannot pair {len(terms.numerator_B)} rounds with {len(other.numerator_B)}; judge one log"
        )
    return terms.value - other.value, errors(terms, units) - errors(other, units)


def standard_error(error_U: np.ndarray) -> float:
    """Standard error of the mean of the units' parts; NaN with fewer than two.

    Example:
        >>> standard_error(np.array([1.0, -1.0]))
        1.0
    """
    n = len(error_U)
    return float(np.sqrt((error_U @ error_U) / (n * (n - 1)))) if n > 1 else float("nan")
