"""`kind = "freshness"`: at least some new items."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from muma.serving.rules.rule import Bounds, Rule, RuleConfig


class FreshnessConfig(RuleConfig):
    """Settings.

    Attributes:
        least: items of the selection that are younger than `select.younger_than_hours`.
        within: in the first so many slots; None is the whole list.
    """

    least: int = Field(ge=1)
    within: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _young(self) -> Self:
        if self.select.younger_than_hours is None:
            raise ValueError("select.younger_than_hours is missing; say what is fresh")
        return self


class Freshness(Rule):
    """A minimum of fresh items, kept and lowered as `Quota`'s; an item without a date is not fresh."""

    effect = "limit"

    def __init__(self, config: FreshnessConfig) -> None:
        super().__init__(config)

    def bounds(self, count: int) -> Bounds:
        """See `Rule.bounds`."""
        within = self.config.within
        within = count if within is None else min(within, count)
        return Bounds(within, low=min(self.config.least, within))
