"""What the weights say about whether an estimate can be trusted.

    effective sample size  (sum w)^2 / sum w^2                                          (Kish 1965)

Shape: B rounds, A actions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from muma.errors import DataError
from muma.evaluation.off_policy.estimator import Rounds, Terms
from muma.evaluation.off_policy.logged import SUM_TOLERANCE
from muma.evaluation.off_policy.pareto import pareto_k
from muma.evaluation.off_policy.units import Units, errors, units_of

QUANTILES = (0.5, 0.9, 0.99, 0.999)
_ROUNDING = 1e-9


@dataclass(frozen=True)
class WeightTail:
    """How evenly the rounds carry an estimate.

    Attributes:
        effective_n: effective sample size in units.
        largest: largest weight.
        top_share: share of all weight on the 1 % of rounds with the largest.
        pareto_k: shape of the tail (`pareto_k`); NaN where too few weights stand out.
        rewarded_n: effective number of rounds with a reward, (sum w r)^2 / sum (w r)^2; NaN where a
            reward is below 0, for then rewards are no events that happen or not.
    """

    effective_n: float
    largest: float
    top_share: float
    pareto_k: float
    rewarded_n: float


@dataclass(frozen=True)
class Diagnostics:
    """The overlap of two policies on a log.

    Attributes:
        n: rounds.
        units: what is independent of each other.
        tail: of the plain weights.
        quantiles: of the weights, by `QUANTILES`.
        zero_share: share of rounds whose action the target would never take.
        mean_weight: 1 up to noise, with true propensities and full support.
        mean_weight_z: its distance from 1 in standard errors; 0 where it is within 1e-4, the rounding
            of float32 probabilities; infinite where it is not and the weights have no spread.
        unseen_mass: mean target probability of actions that the log never shows.
        unsupported_mass: mean target probability where the logging policy cannot go; NaN where its
            probabilities were not handed in.
    """

    n: int
    units: int
    tail: WeightTail
    quantiles: Mapping[float, float]
    zero_share: float
    mean_weight: float
    mean_weight_z: float
    unseen_mass: float
    unsupported_mass: float


def diagnose(rounds: Rounds, *, logging_BA: np.ndarray | None = None) -> Diagnostics:
    """Look at the weights and the support.

    Args:
        rounds: the log seen through the target policy.
        logging_BA: all probabilities of the policy that acted, [B, A]; None where only those of the
            logged actions are known.

    Raises:
        DataError: `logging_BA` is not of shape [B, A], or gives a logged action no chance.

    Example:
        >>> from muma.evaluation.off_policy.estimator import view
        >>> from muma.evaluation.off_policy.logged import Logged
        >>> logged = Logged(np.array([0, 1]), np.array([1.0, 0.0]), np.array([0.5, 0.5]), 3)
        >>> found = diagnose(view(logged, np.array([[0.25, 0.25, 0.5]] * 2)))
        >>> found.mean_weight, found.unseen_mass
        (0.5, 0.5)
    """
    logged, weight_B = rounds.logged, rounds.weight_B
    units = units_of(logged.units_B, len(logged))
    seen_A = np.zeros(logged.n_actions, dtype=bool)
    seen_A[logged.action_B] = True
    terms = Terms(weight_B, weight_B=weight_B)
    error_U = errors(terms, units)
    spread = float(np.sqrt(error_U @ error_U)) / units.count
    quantile = np.quantile(weight_B, QUANTILES)
    return Diagnostics(
        n=len(logged),
        units=units.count,
        tail=weight_tail(weight_B, logged.reward_B, units),
        quantiles=dict(zip(QUANTILES, quantile.tolist(), strict=True)),
        zero_share=float((weight_B == 0).mean()),
        mean_weight=terms.value,
        mean_weight_z=_distance(terms.value - 1, spread),
        unseen_mass=float(rounds.target_BA[:, ~seen_A].sum() / len(logged)),
        unsupported_mass=_unsupported(rounds, logging_BA),
    )


def weight_tail(weight_B: np.ndarray, reward_B: np.ndarray, units: Units) -> WeightTail:
    """Describe a set of weights.

    Example:
        >>> tail = weight_tail(np.array([1.0, 3.0]), np.array([1.0, 0.0]), units_of(None, 2))
        >>> tail.effective_n, tail.rewarded_n
        (1.6, 1.0)
    """
    total = float(weight_B.sum())
    top = max(1, round(len(weight_B) / 100))
    top_sum = float(np.partition(weight_B, len(weight_B) - top)[-top:].sum())
    rewarded = _kish(weight_B * reward_B) if reward_B.min() >= 0 else float("nan")
    return WeightTail(
        effective_n=_kish(units.sums(weight_B)),
        largest=float(weight_B.max()),
        top_share=top_sum / total if total > 0 else float("nan"),
        pareto_k=pareto_k(weight_B),
        rewarded_n=rewarded,
    )


def _distance(off: float, spread: float) -> float:
    """Standard errors that a mean weight is off from 1."""
    if abs(off) <= SUM_TOLERANCE:
        return 0.0
    # equal weights have no spread but that of rounding
    return off / spread if spread > _ROUNDING * abs(off) else math.copysign(math.inf, off)


def _kish(weight: np.ndarray) -> float:
    squares = float(weight @ weight)
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


def _unsupported(rounds: Rounds, logging_BA: np.ndarray | None) -> float:
    if logging_BA is None:
        return float("nan")
    if np.shape(logging_BA) != np.shape(rounds.target_BA):
        raise DataError(
            f"logging_BA has shape {np.shape(logging_BA)}; allowed is {np.shape(rounds.target_BA)}"
        )
    logged = rounds.logged
    shown_B = logging_BA[np.arange(len(logged)), logged.action_B]
    if not (shown_B > 0).all():
        first = int(np.argmin(shown_B > 0))
        raise DataError(
            f"logging_BA gives action {logged.action_B[first]} of round {first} the probability "
            f"{shown_B[first]}, but it was shown; hand in the policy that acted"
        )
    return float(rounds.target_BA[logging_BA == 0].sum() / len(logged))
