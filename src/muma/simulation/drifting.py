"""Arms whose means wander: log-odds of each follow an Ornstein-Uhlenbeck walk around a common centre.

    d x = -(x - c) / tau dt + s sqrt(2 / tau) dW,   mean = 1 / (1 + exp(-x))

drawn exactly at the ends of blocks and straight in between. The best arm changes every tau rounds or so:
what was learned long ago misleads.

Shape: A arms, T rounds of a block.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field
from scipy.special import expit, logit

from muma.rng import derive
from muma.simulation.world import BLOCK, Block, WorldConfig, dealt, examined


class DriftingConfig(WorldConfig):
    """How far and how fast the arms wander.

    Attributes:
        centre: rate around which arms wander.
        spread: s, standard deviation of the log-odds.
        memory: tau, rounds after which a deviation has shrunk to 1 / e.
    """

    centre: float = Field(default=0.08, gt=0, lt=1)
    spread: float = Field(default=0.7, ge=0)
    memory: float = Field(default=8000.0, gt=0)


class DriftingWorld:
    """Bernoulli arms with wandering rates.

    Example:
        >>> block = DriftingWorld().block(1, 3)
        >>> block.mean_TA.shape, bool(np.ptp(block.mean_TA, axis=0).min() > 0)
        ((500, 20), True)
    """

    def __init__(self, config: DriftingConfig | None = None) -> None:
        self.config = config or DriftingConfig()
        self.examine_K = examined(self.config)
        self.arms, self.delay = self.config.arms, self.config.delay
        self._knots: dict[int, list[np.ndarray]] = {}

    def block(self, seed: int, number: int) -> Block:
        """See `World`."""
        first_A, last_A = self._knot(seed, number), self._knot(seed, number + 1)
        share_T = np.arange(BLOCK)[:, None] / BLOCK
        mean_TA = expit(first_A + share_T * (last_A - first_A))
        return dealt(mean_TA, self.examine_K, derive(seed, "drifting", number))

    def _knot(self, seed: int, number: int) -> np.ndarray:
        """Log-odds at the start of a block; the walk is kept as far as it was read."""
        centre, spread = logit(self.config.centre), self.config.spread
        kept = float(np.exp(-BLOCK / self.config.memory))
        walk = self._knots.setdefault(seed, [])
        while len(walk) <= number:
            step_A = derive(seed, "drifting walk", len(walk)).normal(size=self.arms) * spread
            before = walk[-1] - centre if walk else None
            moved = step_A if before is None else kept * before + np.sqrt(1 - kept**2) * step_A
            walk.append(centre + moved)
        return walk[number]
