"""`kind = "quota"`: at least, at most so many of a selection, by number or by share."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from muma.serving.rules.rule import Bounds, Rule, RuleConfig, share_ceil, share_floor


class QuotaConfig(RuleConfig):
    """Settings; one bound at least.

    Attributes:
        within: counts in the first so many slots; None is the whole list. Shares are of these slots, or
            of those asked for if they are fewer.
        min_count: at least so many, as far as there are any; never more than the slots.
        max_count: at most so many.
        min_share: at least this share, rounded up to whole items.
        max_share: at most this share, rounded down to whole items.
    """

    within: int | None = Field(default=None, ge=1)
    min_count: int | None = Field(default=None, ge=1)
    max_count: int | None = Field(default=None, ge=0)
    min_share: float | None = Field(default=None, gt=0, le=1)
    max_share: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        given = (self.min_count, self.max_count, self.min_share, self.max_share)
        if all(bound is None for bound in given):
            raise ValueError("no bound; give min_count, max_count, min_share or max_share")
        for low, high in ((self.min_count, self.max_count), (self.min_share, self.max_share)):
            if low is not None and high is not None and low > high:
                raise ValueError(f"the minimum {low} is above the maximum {high}")
        return self


class Quota(Rule):
    """Bounds the number of items of the selection.

    A maximum always holds. A minimum is kept as long as candidates can keep it together with all
    maximums; where they cannot, minimums are lowered from the last rule of the set to the first.
    """

    effect = "limit"

    def __init__(self, config: QuotaConfig) -> None:
        super().__init__(config)

    def bounds(self, count: int) -> Bounds:
        """See `Rule.bounds`."""
        own = self.config
        within = count if own.within is None else min(own.within, count)
        low = own.min_count or 0
        if own.min_share is not None:
            low = max(low, share_ceil(own.min_share, within))
        high = own.max_count
        if own.max_share is not None:
            most = share_floor(own.max_share, within)
            high = most if high is None else min(high, most)
        return Bounds(within, min(low, within), high)
