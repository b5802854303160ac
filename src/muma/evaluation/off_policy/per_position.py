"""A reward model of its own for every slot, where slots differ by more than a constant.

Shape: B rounds, A actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from muma.errors import DataError
from muma.evaluation.off_policy.logged import Logged
from muma.evaluation.off_policy.reward_model import FittedReward, RewardModel


@dataclass(frozen=True)
class FittedPerPosition:
    """What was learned: a model a slot, and one of all rounds for slots that were never seen."""

    by_slot: Mapping[int, FittedReward]
    whole: FittedReward

    def predict(self, logged: Logged) -> np.ndarray:
        """Mean reward of every action in every round, float64 [B, A]."""
        prediction_BA = np.empty((len(logged), logged.n_actions))
        position_B = _positions(logged)
        for slot in np.unique(position_B):
            here_B = position_B == slot
            fitted = self.by_slot.get(int(slot), self.whole)
            prediction_BA[here_B] = fitted.predict(_blind(logged.rows(here_B)))
        return prediction_BA


class PerPosition:
    """Fits a copy of a reward model in every slot.

    Args:
        model: what is fitted; it is not shown the position.

    Example:
        >>> from muma.evaluation.off_policy.ridge_reward import RidgeReward
        >>> logged = Logged(np.zeros(4, int), np.array([1.0, 1.0, 0.0, 0.0]), np.ones(4), 1,
        ...                 position_B=np.array([0, 0, 1, 1]))
        >>> PerPosition(RidgeReward()).fit(logged).predict(logged).ravel().round(2).tolist()
        [1.0, 1.0, 0.0, 0.0]
    """

    def __init__(self, model: RewardModel) -> None:
        self._model = model

    def fit(self, logged: Logged) -> FittedPerPosition:
        """Learn.

        Raises:
            DataError: the log has no positions, or the model cannot learn its rewards.
        """
        position_B = _positions(logged)
        by_slot = {
            int(slot): self._model.fit(_blind(logged.rows(position_B == slot)))
            for slot in np.unique(position_B)
        }
        return FittedPerPosition(by_slot, self._model.fit(_blind(logged)))


def _positions(logged: Logged) -> np.ndarray:
    if logged.position_B is None:
        raise DataError("a reward model per position needs position_B in the log")
    return logged.position_B


def _blind(logged: Logged) -> Logged:
    return replace(logged, position_B=None)
