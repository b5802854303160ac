"""A logged bandit of known value: contexts, actions, rewards and two policies.

Contexts come from a finite population, so that the value of the target policy is a sum and not an
estimate:  V = (1/M) sum_m sum_a pi(a | x_m) q(x_m, a)  with  q = sigmoid(bias + x W_a + c_a).

Shape: B rounds, A actions, F features, M contexts of the population, U units.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from scipy.special import expit, logit, softmax

from muma.evaluation.off_policy.logged import Logged
from muma.rng import derive


@dataclass(frozen=True)
class BanditWorld:
    """Settings of the world; equal settings give equal worlds.

    Attributes:
        n_actions: A.
        n_features: F.
        bias: log odds of a reward; -5.5 makes clicks as rare as on a page.
        overlap: 1 logs by the target policy, 0 by another of the same sharpness.
        sharpness: how far policies are from uniform.
        size: M.
        per_unit: rounds of each user, who keeps context, luck and taste; 1 for independent rounds.
        seed: of the world, not of its logs.
    """

    n_actions: int = 10
    n_features: int = 5
    bias: float = -1.0
    overlap: float = 0.5
    sharpness: float = 1.0
    size: int = 500
    per_unit: int = 1
    seed: int = 0

    @cached_property
    def context_MF(self) -> np.ndarray:
        """The population."""
        return derive(self.seed, "context").normal(size=(self.size, self.n_features))

    @cached_property
    def mean_MA(self) -> np.ndarray:
        """Mean reward of every action in every context."""
        rng = derive(self.seed, "reward")
        weight_FA = rng.normal(size=(self.n_features, self.n_actions)) / self.n_features**0.5
        return expit(
            self.bias + self.context_MF @ weight_FA + 0.5 * rng.normal(size=self.n_actions)
        )

    @cached_property
    def target_MA(self) -> np.ndarray:
        """The policy that is judged."""
        return softmax(self.sharpness * self._wish, axis=1)

    @cached_property
    def logging_MA(self) -> np.ndarray:
        """The policy that acted; every action has a chance."""
        score_MA = self.overlap * self._wish + (1 - self.overlap) * self._score("logging")
        return softmax(self.sharpness * score_MA, axis=1)

    @property
    def value(self) -> float:
        """Value of the target policy, per round."""
        return float((self.target_MA * self.mean_MA).sum(axis=1).mean())

    def log(self, n: int, rng: np.random.Generator) -> tuple[Logged, np.ndarray, np.ndarray]:
        """Draw a past.

        Args:
            n: rounds, a multiple of `per_unit`.
            rng: draws everything.

        Returns:
            The past with true propensities, the target's probabilities [B, A] and the logging
            policy's [B, A].
        """
        context_U = rng.integers(0, self.size, n // self.per_unit)
        context_B = np.repeat(context_U, self.per_unit)
        logging_BA = self.logging_MA[context_B]
        action_B = draw(logging_BA, rng)
        luck_B = np.repeat(rng.random(len(context_U)), self.per_unit)
        if self.per_unit > 1:  # half of a user's luck stays, the mean of every reward does too
            luck_B = np.where(rng.random(n) < 0.5, luck_B, rng.random(n))
        reward_B = (luck_B < self.mean_MA[context_B, action_B]).astype(np.float64)
        logged = Logged(
            action_B,
            reward_B,
            logging_BA[np.arange(n), action_B],
            self.n_actions,
            unit_B=np.repeat(np.arange(len(context_U)), self.per_unit)
            if self.per_unit > 1
            else None,
            context_BF=self.context_MF[context_B].astype(np.float32),
        )
        return logged, self.target_MA[context_B], logging_BA

    @property
    def _wish(self) -> np.ndarray:
        """What the target policy goes by: half of it is what pays."""
        return (self._score("reward") + self._score("target")) / 2**0.5

    def _score(self, name: str) -> np.ndarray:
        weight_FA = derive(self.seed, name).normal(size=(self.n_features, self.n_actions))
        return self.context_MF @ weight_FA / self.n_features**0.5


def draw(probability_BA: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One action a row, int64 [B]."""
    edge_BA = np.cumsum(probability_BA, axis=1)
    # scaled by the last edge, which rounding may leave off 1; equal edges are never taken
    return (edge_BA <= (rng.random(len(edge_BA)) * edge_BA[:, -1])[:, None]).sum(axis=1)


def misstated(
    logged: Logged, kind: Literal["blind", "blurred", "noisy"], rng: np.random.Generator
) -> Logged:
    """The same past with wrong propensities, as a careless log would state them.

    Args:
        logged: a past with true propensities.
        kind: `"blind"` states the frequency of each action in the log, as if there were no context;
            `"blurred"` the geometric mean of that and the truth; `"noisy"` multiplies the odds of the
            truth by lognormal noise of 0.5.
        rng: draws the noise.
    """
    count_A = np.bincount(logged.action_B, minlength=logged.n_actions)
    share_B = (count_A / count_A.sum())[logged.action_B]
    if kind == "blind":
        return replace(logged, propensity_B=share_B)
    if kind == "blurred":
        return replace(logged, propensity_B=np.sqrt(share_B * logged.propensity_B))
    shift_B = 0.5 * rng.normal(size=len(logged))
    return replace(logged, propensity_B=expit(logit(logged.propensity_B) + shift_B))
