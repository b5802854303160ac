"""The contract of an estimator: a past seen through a target policy in, one term a round out.

Every estimator here is a ratio of two sums over rounds,

    V = sum_b N_b / sum_b D_b,        w_b = pi(a_b | x_b) / p_b,

with D_b = 1 for plain means. What an interval, a bootstrap or a choice of parameters needs is in the
terms, so that an estimator is a few lines of array arithmetic and a file of its own.

Shape: B rounds, A actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from muma.errors import DataError
from muma.evaluation.off_policy.logged import Logged, check, check_prediction, check_target


@dataclass(frozen=True)
class Rounds:
    """A checked past beside the policy that is judged; made by `view`.

    Attributes:
        logged: the past.
        target_BA: probability of each action under the policy that is judged, [B, A].
        prediction_BA: predicted reward of each action, [B, A]; None without a reward model. For
            cascade estimators: predicted rewards from this slot to the end of the answer.
        weight_B: target probability of the logged action over its propensity, float64 [B].
    """

    logged: Logged
    target_BA: np.ndarray
    prediction_BA: np.ndarray | None
    weight_B: np.ndarray

    @cached_property
    def expected_B(self) -> np.ndarray:
        """Reward that the model expects of the target policy, float64 [B].

        Raises:
            DataError: there is no reward model.
        """
        return np.einsum("ba,ba->b", self.target_BA, self._model()).astype(np.float64, copy=False)

    @cached_property
    def residual_B(self) -> np.ndarray:
        """Logged reward less the model's prediction for the logged action, float64 [B].

        Raises:
            DataError: there is no reward model.
        """
        predicted_B = self._model()[np.arange(len(self.logged)), self.logged.action_B]
        return self.logged.reward_B - predicted_B

    def _model(self) -> np.ndarray:
        if self.prediction_BA is None:
            raise DataError(
                "this estimator needs predicted rewards; hand in prediction_BA or a reward model"
            )
        return self.prediction_BA


@dataclass(frozen=True)
class Terms:
    """One term a round; the estimate is the ratio of their sums.

    Attributes:
        numerator_B: float64 [B].
        denominator_B: float64 [B]; None for ones.
        weight_B: weight with which a round's reward counts, for the effective sample size; None where
            all count alike.
        parameter: the clip, threshold or shrinkage in use; NaN where there is none.
        chosen: whether the parameter was chosen on this very log.
        weight_cap: bound on `weight_B` that holds before the log is seen; inf where the estimator
            adds none to that of the policies; NaN where its terms have no bound known beforehand.
        residual: whether terms are model + weight x residual (else weight x reward).
    """

    numerator_B: np.ndarray
    denominator_B: np.ndarray | None = None
    weight_B: np.ndarray | None = None
    parameter: float = float("nan")
    chosen: bool = False
    weight_cap: float = float("inf")
    residual: bool = False

    @property
    def value(self) -> float:
        """The estimate; NaN where the denominators sum to 0."""
        if self.denominator_B is None:
            return float(self.numerator_B.mean())
        total = float(self.denominator_B.sum())
        return float(self.numerator_B.sum()) / total if total else float("nan")


class Estimator(Protocol):
    """Values a policy from another policy's past.

    Attributes:
        name: stands in tables and pictures.
        needs_model: whether predicted rewards are needed.
        consistent: whether the estimate goes to the true value with true propensities, full support
            and a log that grows, whatever the reward model; only then its interval covers the value
            at the stated level.
        per_answer: whether the value is that of a whole answer; else of a round.
    """

    name: str
    needs_model: bool
    consistent: bool
    per_answer: bool

    def terms(self, rounds: Rounds) -> Terms:
        """The terms of every round.

        Raises:
            DataError: what the estimator needs (predictions, positions) is not there.
        """
        ...


def view(
    logged: Logged, target_BA: np.ndarray, *, prediction_BA: np.ndarray | None = None
) -> Rounds:
    """Check a past and a target policy, and weigh every round.

    Args:
        logged: the past.
        target_BA: float64 or float32 [B, A], rows sum to 1.
        prediction_BA: predicted rewards [B, A], made without sight of a round's own reward
            (`cross_fit`); None where no estimator asks.

    Raises:
        DataError: see `check`, `check_target` and `check_prediction`.

    Example:
        >>> logged = Logged(np.array([0, 1]), np.array([1.0, 0.0]), np.array([0.5, 0.5]), 2)
        >>> view(logged, np.array([[0.25, 0.75], [0.25, 0.75]])).weight_B.tolist()
        [0.5, 1.5]
    """
    check(logged)
    check_target(target_BA, logged)
    if prediction_BA is not None:
        check_prediction(prediction_BA, logged)
    logged_target_B = target_BA[np.arange(len(logged)), logged.action_B]
    weight_B = logged_target_B.astype(np.float64, copy=False) / logged.propensity_B
    return Rounds(logged, target_BA, prediction_BA, weight_B)
