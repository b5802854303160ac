"""The contract of this room: a `World` deals every reward that could come, a block of rounds at a time.

A world is seeded: a block depends on (seed, number) and its config only, whoever reads it and in what
order. It deals *potential* rewards: what each arm would have given in each round. Policies that play the
same seed meet the same luck, which pairs them.

A round is one request; slots are examined with known probabilities (the position-based model of
Richardson et al., WWW 2007): the reward of arm a in slot k is relevant_a x examined_k. Rewards are told
`delay` rounds later.

Shape: T rounds of a block, A arms, K slots, F features, D width of the interest vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.errors import ConfigError

BLOCK = 500
"""Rounds of a block."""

ROUND_US = 1_000_000
"""Event time between two rounds, in microseconds."""


@dataclass(frozen=True)
class Block:
    """What would happen in `BLOCK` rounds.

    Attributes:
        mean_TA: chance of a reward when the slot is examined; of one row where it never changes.
        relevant_TA: boolean, whether the arm would be liked.
        examined_TK: boolean, whether the slot is looked at.
        value_TAF: features of the arms as the policy sees them, float32; None for none.
        vector_TD: interest vector of who asks, float32; None for none.
    """

    mean_TA: np.ndarray
    relevant_TA: np.ndarray
    examined_TK: np.ndarray
    value_TAF: np.ndarray | None = None
    vector_TD: np.ndarray | None = None


class WorldConfig(Config):
    """What every world has.

    Attributes:
        arms: A, how many there are.
        examine: chance that each slot is looked at, first slot first; one slot by default.
        delay: rounds between a decision and its reward; 0 tells it before the next decision.
    """

    arms: int = Field(default=20, ge=2)
    examine: tuple[float, ...] = (1.0,)
    delay: int = Field(default=0, ge=0)


class World(Protocol):
    """Deals rewards of known means."""

    @property
    def arms(self) -> int:
        """Number of arms."""
        ...

    @property
    def examine_K(self) -> np.ndarray:
        """Chance that each slot is looked at, float64 [K]."""
        ...

    @property
    def delay(self) -> int:
        """Rounds between a decision and its reward."""
        ...

    def block(self, seed: int, number: int) -> Block:
        """Rounds `number * BLOCK` up to the next block's first."""
        ...


def examined(config: WorldConfig) -> np.ndarray:
    """The config's slots, checked; float64 [K].

    Raises:
        ConfigError: there is no slot, more slots than arms, or a chance outside (0, 1].

    Example:
        >>> examined(WorldConfig(examine=(1.0, 0.6)))
        array([1. , 0.6])
    """
    chance_K = np.array(config.examine, dtype=np.float64)
    if not 1 <= len(chance_K) <= config.arms:
        raise ConfigError(
            f"examine names {len(chance_K)} slots for {config.arms} arms; allowed are 1 to all arms"
        )
    if not ((chance_K > 0) & (chance_K <= 1)).all():
        raise ConfigError(f"examine is {config.examine}; each chance must be in (0, 1]")
    return chance_K


def dealt(
    mean_TA: np.ndarray,
    examine_K: np.ndarray,
    rng: np.random.Generator,
    *,
    value_TAF: np.ndarray | None = None,
    vector_TD: np.ndarray | None = None,
) -> Block:
    """A block of Bernoulli rewards with these means; `mean_TA` may have one row for all rounds."""
    relevant_TA = rng.random((BLOCK, mean_TA.shape[1])) < mean_TA
    examined_TK = rng.random((BLOCK, len(examine_K))) < examine_K
    return Block(mean_TA, relevant_TA, examined_TK, value_TAF, vector_TD)
