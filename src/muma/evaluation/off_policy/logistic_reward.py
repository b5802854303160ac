"""Logistic reward model: the default for rewards in [0, 1].

    q(x, a, k) = 1 / (1 + exp(-b - eta))        (eta: see `design`)

fitted by penalised likelihood, sum of log losses + l2/2 |parameters|^2, the intercept b free. Rewards
between 0 and 1 count as rates (Papke and Wooldridge, J. Applied Econometrics 1996).

Shape: B rounds, A actions, G action features, P parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field
from scipy.optimize import minimize
from scipy.special import expit, xlogy

from muma.config import Config
from muma.errors import DataError
from muma.evaluation.off_policy.design import Design, design_of
from muma.evaluation.off_policy.logged import Logged


class LogisticRewardConfig(Config):
    """Settings of `LogisticReward`.

    Attributes:
        l2: strength of the ridge penalty.
        interaction: whether every action has weights of its own for the context.
        identity: whether every action has a value of its own; without, only its features tell.
        max_steps: most steps of the optimiser (L-BFGS).
    """

    l2: float = Field(default=1.0, ge=0)
    interaction: bool = False
    identity: bool = True
    max_steps: int = Field(default=500, ge=1)


@dataclass(frozen=True)
class FittedLogistic:
    """What was learned.

    Attributes:
        design: layout of the parameters.
        intercept: b above.
        parameter_P: the others.
    """

    design: Design
    intercept: float
    parameter_P: np.ndarray

    def predict(self, logged: Logged) -> np.ndarray:
        """Mean reward of every action in every round, float64 [B, A], in (0, 1)."""
        return expit(self.intercept + self.design.scores(logged, self.parameter_P))


class LogisticReward:
    """Logistic regression on context, action and slot.

    Args:
        config: settings.
        action_AG: features of the actions, float [A, G]; None for none.

    Example:
        >>> logged = Logged(np.array([0, 0, 1, 1]), np.array([1.0, 1.0, 0.0, 0.0]), np.ones(4), 2)
        >>> q_BA = LogisticReward(LogisticRewardConfig(l2=1e-3)).fit(logged).predict(logged)
        >>> bool(q_BA[0, 0] > 0.95 and q_BA[0, 1] < 0.05)
        True
    """

    def __init__(
        self,
        config: LogisticRewardConfig = LogisticRewardConfig(),
        *,
        action_AG: np.ndarray | None = None,
    ) -> None:
        self.config = config
        self._action_AG = action_AG

    def fit(self, logged: Logged) -> FittedLogistic:
        """Learn.

        Raises:
            DataError: a reward lies outside [0, 1], or there are no rounds.
        """
        reward_B = logged.reward_B
        if not len(reward_B):
            raise DataError("there are no rounds to fit a reward model on")
        if not ((reward_B >= 0) & (reward_B <= 1)).all():
            raise DataError(
                f"rewards go from {reward_B.min():.4g} to {reward_B.max():.4g}; the logistic model "
                "takes [0, 1]: use RidgeReward, or scale them"
            )
        design = design_of(
            logged,
            action_AG=self._action_AG,
            interaction=self.config.interaction,
            identity=self.config.identity,
        )
        matrix_BP = design.matrix(logged)
        transposed = matrix_BP.T.tocsr()
        n, l2 = len(reward_B), self.config.l2
        entropy = float((xlogy(reward_B, reward_B) + xlogy(1 - reward_B, 1 - reward_B)).sum())

        def loss(all_P: np.ndarray) -> tuple[float, np.ndarray]:
            weight_P = all_P[1:]
            eta_B = all_P[0] + matrix_BP @ weight_P
            error_B = expit(eta_B) - reward_B
            gradient_P = transposed @ error_B + l2 * weight_P
            value = np.logaddexp(0, eta_B).sum() - reward_B @ eta_B + entropy
            value += 0.5 * l2 * (weight_P @ weight_P)
            return float(value) / n, np.concatenate([[error_B.sum()], gradient_P]) / n

        mean = np.clip(reward_B.mean(), 1e-6, 1 - 1e-6)
        start_P = np.zeros(len(matrix_BP.sum(axis=0)) + 1)
        start_P[0] = np.log(mean / (1 - mean))
        found = minimize(
            loss, start_P, jac=True, method="L-BFGS-B",
            options={"maxiter": self.config.max_steps, "ftol": 1e-13, "gtol": 1e-8},
        )  # fmt: skip
        all_P = np.asarray(found.x, dtype=np.float64)
        return FittedLogistic(design, float(all_P[0]), all_P[1:])
