"""Keeps regret and bias at checkpoints while games go on.

Shape: S seeds, C checkpoints, K slots, A arms.
"""

from __future__ import annotations

import numpy as np

from muma.simulation.outcome import Play


def checkpoints(rounds: int, count: int) -> np.ndarray:
    """Evenly spaced rounds, the last one `rounds`; int64 [C], without repeats.

    Example:
        >>> checkpoints(10, 4).tolist()
        [2, 5, 8, 10]
    """
    return np.unique(np.round(np.linspace(0, rounds, count + 1)[1:]).astype(np.int64))


class Recorder:
    """Regret and bias of one policy.

    Args:
        n_seeds: S, games side by side.
        rounds_C: checkpoints.
        examine_K: chance that each slot is looked at.
    """

    def __init__(self, n_seeds: int, rounds_C: np.ndarray, examine_K: np.ndarray) -> None:
        self._rounds_C, self._examine_K = rounds_C, examine_K
        self._due = set(rounds_C.tolist())
        self._regret_S = np.zeros(n_seeds)
        shape = (n_seeds, len(rounds_C))
        self._regret_SC, self._bias_SC, self._worst_SC = (np.full(shape, np.nan) for _ in range(3))

    def round(self, mean_SA: np.ndarray, arm_SK: np.ndarray) -> None:
        """Note what was shown."""
        n_slots = len(self._examine_K)
        best_SK = -np.partition(-mean_SA, n_slots - 1, axis=1)[:, :n_slots]
        best_SK = -np.sort(-best_SK, axis=1)
        shown_SK = np.take_along_axis(mean_SA, arm_SK, axis=1)
        self._regret_S += (best_SK - shown_SK) @ self._examine_K

    def due(self, played: int) -> bool:
        """Whether `played` rounds are a checkpoint."""
        return played in self._due

    def checkpoint(self, played: int, expected_SA: np.ndarray, mean_SA: np.ndarray) -> None:
        """Note the state after `played` rounds; `mean_SA` is the truth of the last one."""
        place = int(np.searchsorted(self._rounds_C, played))
        error_SA = expected_SA - mean_SA
        self._regret_SC[:, place] = self._regret_S
        self._bias_SC[:, place] = error_SA.mean(axis=1)
        self._worst_SC[:, place] = np.abs(error_SA).max(axis=1)

    def play(self) -> Play:
        """What was noted."""
        return Play(self._regret_SC, self._bias_SC, self._worst_SC)
