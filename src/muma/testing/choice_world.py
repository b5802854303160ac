"""A world in which every action's chance of a reward is known, logged by a policy with known chances.

    P(r = 1 | x, a) = sigmoid(bias_a + x . theta_a),     x ~ N(0, I)

Shape: B rounds, A actions, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, softmax

from muma.evaluation.off_policy.logged import Logged
from muma.rng import derive


@dataclass(frozen=True)
class ChoiceWorld:
    """The world.

    Attributes:
        actions: A.
        features: F.
        rate: log-odds of a reward for an average action in an average context.
        sharpness: how far contexts move the log-odds (standard deviation).
        seed: fixes the world; rounds are drawn by an rng of their own.
    """

    actions: int = 6
    features: int = 3
    rate: float = -1.0
    sharpness: float = 1.0
    seed: int = 0

    def chance(self, context_BF: np.ndarray) -> np.ndarray:
        """Chance of a reward of every action, float64 [B, A]."""
        rng = derive(self.seed, "choice-world")
        theta_FA = rng.normal(size=(self.features, self.actions)) / np.sqrt(self.features)
        bias_A = rng.normal(size=self.actions) * 0.3
        return expit(self.rate + bias_A + self.sharpness * context_BF @ theta_FA)

    def logging(self, context_BF: np.ndarray) -> np.ndarray:
        """The logging policy: leans to what is good, with a mind of its own, and a floor; [B, A]."""
        rng = derive(self.seed, "choice-world", "logging")
        own_FA = rng.normal(size=(self.features, self.actions))
        own_BA = softmax(2 * self.chance(context_BF) + 0.7 * context_BF @ own_FA, axis=1)
        return 0.8 * own_BA + 0.2 / self.actions

    def log(self, n: int, rng: np.random.Generator, *, per_unit: int = 1) -> Logged:
        """Rounds; `per_unit` of them share a unit and its context."""
        units = -(-n // per_unit)
        unit_B = np.repeat(np.arange(units), per_unit)[:n]
        context_BF = rng.normal(size=(units, self.features))[unit_B]
        policy_BA = self.logging(context_BF)
        action_B = (rng.random((n, 1)) > np.cumsum(policy_BA, axis=1)[:, :-1]).sum(axis=1)
        row_B = np.arange(n)
        reward_B = rng.random(n) < self.chance(context_BF)[row_B, action_B]
        return Logged(
            action_B,
            reward_B.astype(np.float64),
            policy_BA[row_B, action_B],
            self.actions,
            unit_B=unit_B,
            context_BF=context_BF.astype(np.float32),
        )

    def contexts(self, n: int = 100_000) -> np.ndarray:
        """Fresh contexts on which true values are taken, float64 [n, F]."""
        return derive(self.seed, "choice-world", "truth").normal(size=(n, self.features))
