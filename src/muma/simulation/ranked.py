"""A feed: several slots, the lower ones looked at less, and rewards that come late."""

from __future__ import annotations

from pydantic import Field

from muma.simulation.stationary import StationaryConfig, StationaryWorld


class RankedConfig(StationaryConfig):
    """Stationary arms in three slots, told 200 rounds late.

    Attributes:
        examine: chance that each slot is looked at.
        delay: rounds between a decision and its reward.
    """

    examine: tuple[float, ...] = (1.0, 0.6, 0.36)
    delay: int = Field(default=200, ge=0)


class RankedWorld(StationaryWorld):
    """Stationary arms seen through position bias and delay.

    A reward of a low slot is rarer than its arm deserves: a policy that does not know the slots
    believes means that are too small, by the share of looks that its slots got.

    Example:
        >>> RankedWorld().examine_K.tolist(), RankedWorld().delay
        ([1.0, 0.6, 0.36], 200)
    """

    def __init__(self, config: RankedConfig | None = None) -> None:
        super().__init__(config or RankedConfig())
