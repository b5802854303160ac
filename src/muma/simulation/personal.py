"""Arms that please some users and not others: each has weights over the interest vector.

    mean_a = clip(base + v' theta_a, 0, 1),   v ~ N(0, I) anew in every round

No arm is best for everybody; without the vector all arms are alike.

Shape: T rounds of a block, A arms, D width of the interest vector.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from muma.rng import derive
from muma.simulation.world import BLOCK, Block, WorldConfig, dealt, examined


class PersonalConfig(WorldConfig):
    """How tastes differ.

    Attributes:
        width: D of the interest vector.
        base: mean of an arm over all users.
        spread: standard deviation of an arm's mean over users.
    """

    width: int = Field(default=4, ge=1)
    base: float = Field(default=0.3, ge=0, le=1)
    spread: float = Field(default=0.1, ge=0)


class PersonalWorld:
    """Bernoulli rewards, linear in who asks, with weights of each arm's own.

    Example:
        >>> block = PersonalWorld().block(1, 0)
        >>> block.mean_TA.shape, block.vector_TD.shape
        ((500, 20), (500, 4))
    """

    def __init__(self, config: PersonalConfig | None = None) -> None:
        self.config = config or PersonalConfig()
        self.examine_K = examined(self.config)
        self.arms, self.delay = self.config.arms, self.config.delay

    def block(self, seed: int, number: int) -> Block:
        """See `World`."""
        theta_AD = derive(seed, "personal weights").normal(size=(self.arms, self.config.width))
        theta_AD *= self.config.spread / np.linalg.norm(theta_AD, axis=1, keepdims=True)
        rng = derive(seed, "personal", number)
        vector_TD = rng.normal(size=(BLOCK, self.config.width)).astype(np.float32)
        mean_TA = np.clip(self.config.base + vector_TD @ theta_AD.T, 0.0, 1.0)
        return dealt(mean_TA, self.examine_K, rng, vector_TD=vector_TD)
