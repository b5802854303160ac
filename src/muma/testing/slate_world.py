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
        logging_KI, target_KI = (self.marginals(odds) for odds in (_LOGGING, _TARGET))
        action, reward, propensity, target, context = [], [], [], [], []
        for _ in range(answers):
            items: tuple[int, ...] = ()
            for slot in range(self.slots):
                given = conditional(_LOGGING, items)
                item = int(rng.choice(4, p=given))
                action.append(item)
                reward.append(float(rng.random() < self.mean((*items, item))))
                propensity.append(logging_KI[slot, item] if marginal else given[item])
                target.append(target_KI[slot] if marginal else conditional(_TARGET, items))
                context.append(np.isin(np.arange(4), items))
                items = (*items, item)
        n = len(action)
        logged = Logged(
            np.array(action, dtype=np.int64),
            np.array(reward),
            np.array(propensity),
            4,
            position_B=np.arange(n) % self.slots,
            slate_B=np.arange(n) // self.slots,
            context_BF=np.array(context, dtype=np.float32),
        )
        return logged, np.array(target)

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
