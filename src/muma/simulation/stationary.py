"""Arms whose means never change: evenly spaced rates, in an order of their own in every seed."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from muma.errors import ConfigError
from muma.rng import derive
from muma.simulation.world import Block, WorldConfig, dealt, examined


class StationaryConfig(WorldConfig):
    """Rates of the arms.

    Attributes:
        low, high: rates of the worst and the best arm, rewards a look.
    """

    low: float = Field(default=0.02, ge=0, le=1)
    high: float = Field(default=0.2, ge=0, le=1)


class StationaryWorld:
    """Bernoulli arms with rates from `low` to `high`.

    Raises:
        ConfigError: `low` is above `high`, or the slots are wrong.

    Example:
        >>> world = StationaryWorld(StationaryConfig(arms=3, low=0.1, high=0.3))
        >>> sorted(world.block(1, 0).mean_TA[0].round(3).tolist())
        [0.1, 0.2, 0.3]
    """

    def __init__(self, config: StationaryConfig | None = None) -> None:
        self.config = config or StationaryConfig()
        if self.config.low > self.config.high:
            raise ConfigError(f"low {self.config.low} is above high {self.config.high}; swap them")
        self.examine_K = examined(self.config)
        self.arms, self.delay = self.config.arms, self.config.delay

    def block(self, seed: int, number: int) -> Block:
        """See `World`; one row of means serves all rounds."""
        mean_A = np.linspace(self.config.low, self.config.high, self.arms)
        mean_A = derive(seed, "stationary means").permutation(mean_A)
        return dealt(mean_A[None], self.examine_K, derive(seed, "stationary", number))
