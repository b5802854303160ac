"""Logged answers of known value: three slots of four items, a reader who goes from top to bottom.

A slot's reward depends on its item and on the item above (`interference` 0: on its own item only). Both
policies draw items without replacement by given odds, so that every value is a sum over 24 answers.

Shape: B rounds, S answers, I items, K slots.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from muma.evaluation.off_policy.logged import Logged
from muma.testing.bandit_world import draw

_LOGGING = np.array([1.0, 1.0, 2.0, 2.0])
_TARGET = np.array([3.0, 1.0, 1.0, 2.0])
_APPEAL = np.array([0.7, 0.2, 0.4, 0.5])


@dataclass(frozen=True)
class SlateWorld:
    """Settings.

    Attributes:
        interference: share of a slot's appeal that an appealing item above it takes away.
        slots: K, up to 4.
    """

    interference: float = 0.6
    slots: int = 3

    @property
    def value(self) -> float:
        """Expected sum of rewards of an answer of the target policy."""
        total = 0.0
        for items in itertools.permutations(range(4), self.slots):
            chance, reward = 1.0, 0.0
            for slot, item in enumerate(items):
                chance *= conditional(_TARGET, items[:slot])[item]
                reward += self.mean(items[: slot + 1])
            total += chance * reward
        return total

    def mean(self, items: tuple[int, ...]) -> float:
        """Mean reward of the last of these items, given those above."""
        appeal = _APPEAL[list(items)]
        above = appeal[-2] if len(appeal) > 1 else 0.0
        return float(appeal[-1] * (1 - self.interference * above))

    def log(
        self, answers: int, rng: np.random.Generator, *, marginal: bool = False
    ) -> tuple[Logged, np.ndarray]:
        """Draw a past, and the target's probabilities [B, I].

        Args:
            answers: S.
            rng: draws everything.
            marginal: state probabilities of an item in its slot whatever stands above; else given the
                slots above.
        """
        taken_SI = np.zeros((answers, 4), dtype=bool)
        above_S = np.zeros(answers)
        shape = (answers, self.slots)
        action_SK, reward_SK = np.zeros(shape, dtype=np.int64), np.zeros(shape)
        propensity_SK, target_SKI = np.zeros(shape), np.zeros((*shape, 4))
        context_SKI = np.zeros((*shape, 4), dtype=np.float32)
        logging_KI, target_KI = (self.marginals(odds) for odds in (_LOGGING, _TARGET))
        row_S = np.arange(answers)
        for slot in range(self.slots):
            given_SI, wanted_SI = (
                (odds / (odds * ~taken_SI).sum(axis=1, keepdims=True)) * ~taken_SI
                for odds in (_LOGGING, _TARGET)
            )
            item_S = draw(given_SI, rng)
            appeal_S = _APPEAL[item_S]
            action_SK[:, slot] = item_S
            reward_SK[:, slot] = rng.random(answers) < appeal_S * (1 - self.interference * above_S)
            propensity_SK[:, slot] = (
                logging_KI[slot, item_S] if marginal else given_SI[row_S, item_S]
            )
            target_SKI[:, slot] = target_KI[slot] if marginal else wanted_SI
            context_SKI[:, slot] = taken_SI
            taken_SI[row_S, item_S], above_S = True, appeal_S
        n = action_SK.size
        logged = Logged(
            action_SK.ravel(),
            reward_SK.ravel(),
            propensity_SK.ravel(),
            4,
            position_B=np.arange(n) % self.slots,
            slate_B=np.arange(n) // self.slots,
            context_BF=context_SKI.reshape(n, 4),
        )
        return logged, target_SKI.reshape(n, 4)

    def marginals(self, odds: np.ndarray) -> np.ndarray:
        """Probability of each item in each slot, float64 [K, I]."""
        found_KI = np.zeros((self.slots, 4))
        for items in itertools.permutations(range(4), self.slots):
            chance = 1.0
            for slot, item in enumerate(items):
                chance *= conditional(odds, items[:slot])[item]
            found_KI[np.arange(self.slots), items] += chance
        return found_KI


def conditional(odds_I: np.ndarray, taken: tuple[int, ...]) -> np.ndarray:
    """Probability of each item for the next slot, given those that stand already."""
    left_I = odds_I.copy()
    left_I[list(taken)] = 0.0
    return left_I / left_I.sum()
