"""The contract of a reward model, and predictions that never saw the reward they foretell.

A model that has seen a round's reward pulls the doubly robust estimate towards itself. Cross-fitting
deals the units into K folds and predicts each with a model fitted on the others (Chernozhukov et al.,
Econometrics Journal 2018).

Shape: B rounds, A actions.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from muma.errors import ConfigError, DataError
from muma.evaluation.off_policy.logged import Logged, check
from muma.evaluation.off_policy.units import units_of
from muma.progress import track
from muma.rng import derive


class FittedReward(Protocol):
    """Predicts."""

    def predict(self, logged: Logged) -> np.ndarray:
        """Reward of every action in every round, [B, A]; reads context and position only."""
        ...


class RewardModel(Protocol):
    """Learns the mean reward of an action in a context; holds settings, not what was learned."""

    def fit(self, logged: Logged) -> FittedReward:
        """Learn from rounds.

        Raises:
            DataError: the rewards are none that the model can learn.
        """
        ...


def cross_fit(model: RewardModel, logged: Logged, *, folds: int = 3, seed: int = 0) -> np.ndarray:
    """Predictions [B, A] in which no round's reward, and none of its unit, was seen.

    Args:
        model: what is fitted, K times.
        logged: the past; folds are dealt by `units_B`.
        folds: K, at least 2 and at most the units.
        seed: deals the folds.

    Raises:
        ConfigError: `folds` is out of range.
        DataError: the log cannot be used, or predictions are of another shape.
    """
    check(logged)
    fold_B = deal(logged, folds=folds, seed=seed)
    prediction_BA = np.empty((len(logged), logged.n_actions))
    for fold in track(range(folds), label="Fitting the reward model"):
        held_B = fold_B == fold
        held = logged.rows(held_B)
        predicted_ba = model.fit(logged.rows(~held_B)).predict(held)
        if np.shape(predicted_ba) != (len(held), logged.n_actions):
            raise DataError(
                f"the reward model returned predictions of shape {np.shape(predicted_ba)}; "
                f"allowed is {(len(held), logged.n_actions)}: rounds x actions"
            )
        prediction_BA[held_B] = predicted_ba
    return prediction_BA


def deal(logged: Logged, *, folds: int, seed: int) -> np.ndarray:
    """Fold of every round, int64 [B]; units stay whole and folds are as even as they can be.

    Raises:
        ConfigError: `folds` is below 2 or above the number of units.

    Example:
        >>> one = np.ones(4)
        >>> log = Logged(np.zeros(4, int), one, one, 1, unit_B=np.array([1, 1, 2, 2]))
        >>> fold_B = deal(log, folds=2, seed=1)
        >>> bool(fold_B[0] == fold_B[1] != fold_B[2] == fold_B[3])
        True
    """
    units = units_of(logged.units_B, len(logged))
    if not 2 <= folds <= units.count:
        raise ConfigError(f"folds is {folds}; allowed are 2 to {units.count}, the units in the log")
    fold_U = derive(seed, "cross_fit").permutation(np.arange(units.count) % folds)
    return fold_U if units.place_B is None else fold_U[units.place_B]
