"""Ridge reward model: linear, for rewards of any range.

    q(x, a, k) = mean reward + eta        (eta: see `design`)

with least squares + l2 |parameters|^2, so that what is unknown falls back to the mean reward.

Shape: B rounds, A actions, G action features, P parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field
from scipy.sparse.linalg import lsqr

from muma.config import Config
from muma.errors import DataError
from muma.evaluation.off_policy.design import Design, design_of
from muma.evaluation.off_policy.logged import Logged


class RidgeRewardConfig(Config):
    """Settings of `RidgeReward`.

    Attributes:
        l2: strength of the ridge penalty.
        interaction: whether every action has weights of its own for the context.
        identity: whether every action has a value of its own; without, only its features tell.
    """

    l2: float = Field(default=1.0, gt=0)
    interaction: bool = False
    identity: bool = True


@dataclass(frozen=True)
class FittedRidge:
    """What was learned.

    Attributes:
        design: layout of the parameters.
        intercept: mean reward.
        parameter_P: the others.
    """

    design: Design
    intercept: float
    parameter_P: np.ndarray

    def predict(self, logged: Logged) -> np.ndarray:
        """Mean reward of every action in every round, float64 [B, A]."""
        return self.intercept + self.design.scores(logged, self.parameter_P)


class RidgeReward:
    """Ridge regression on context, action and slot.

    Args:
        config: settings.
        action_AG: features of the actions, float [A, G]; None for none.

    Example:
        >>> logged = Logged(np.array([0, 0, 1, 1]), np.array([5.0, 5.0, 1.0, 1.0]), np.ones(4), 2)
        >>> q_BA = RidgeReward(RidgeRewardConfig(l2=1e-9)).fit(logged).predict(logged)
        >>> q_BA[0].round(3).tolist()
        [5.0, 1.0]
    """

    def __init__(
        self,
        config: RidgeRewardConfig = RidgeRewardConfig(),
        *,
        action_AG: np.ndarray | None = None,
    ) -> None:
        self.config = config
        self._action_AG = action_AG

    def fit(self, logged: Logged) -> FittedRidge:
        """Learn.

        Raises:
            DataError: there are no rounds.
        """
        if not len(logged):
            raise DataError("there are no rounds to fit a reward model on")
        design = design_of(
            logged,
            action_AG=self._action_AG,
            interaction=self.config.interaction,
            identity=self.config.identity,
        )
        mean = float(logged.reward_B.mean())
        parameter_P = lsqr(
            design.matrix(logged), logged.reward_B - mean,
            damp=float(np.sqrt(self.config.l2)), atol=1e-12, btol=1e-12,
        )[0]  # fmt: skip
        return FittedRidge(design, mean, parameter_P)
