"""Candidates whose features tell their means: a linear model that the policy has to find.

    mean = clip(base + x' theta, 0, 1),   x ~ N(0, I) anew for every arm and round

The weights are drawn once a seed, with x' theta of standard deviation `spread`; with the defaults one mean
in about 700 is clipped.

Shape: T rounds of a block, A arms, F features.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from muma.rng import derive
from muma.simulation.world import BLOCK, Block, WorldConfig, dealt, examined


class ContextualConfig(WorldConfig):
    """The linear truth.

    Attributes:
        features: F, how many the policy sees.
        base: mean of a candidate with all features 0.
        spread: standard deviation of the means over candidates.
    """

    features: int = Field(default=8, ge=1)
    base: float = Field(default=0.3, ge=0, le=1)
    spread: float = Field(default=0.1, ge=0)


class ContextualWorld:
    """Bernoulli rewards, linear in features that change from round to round.

    Example:
        >>> block = ContextualWorld().block(1, 0)
        >>> block.mean_TA.shape, block.value_TAF.shape
        ((500, 20), (500, 20, 8))
    """

    def __init__(self, config: ContextualConfig | None = None) -> None:
        self.config = config or ContextualConfig()
        self.examine_K = examined(self.config)
        self.arms, self.delay = self.config.arms, self.config.delay

    def theta_F(self, seed: int) -> np.ndarray:
        """True weights of a seed."""
        theta_F = derive(seed, "contextual weights").normal(size=self.config.features)
        return theta_F * self.config.spread / np.linalg.norm(theta_F)

    def block(self, seed: int, number: int) -> Block:
        """See `World`."""
        rng = derive(seed, "contextual", number)
        shape = (BLOCK, self.arms, self.config.features)
        value_TAF = rng.normal(size=shape).astype(np.float32)
        mean_TA = np.clip(self.config.base + value_TAF @ self.theta_F(seed), 0.0, 1.0)
        return dealt(mean_TA, self.examine_K, rng, value_TAF=value_TAF)
