"""`kind = "region"`: a selection is shown in some regions only."""

from __future__ import annotations

from pydantic import Field

from muma.serving.recommending import Ask
from muma.serving.rules.rule import Rule, RuleConfig


class RegionConfig(RuleConfig):
    """Settings.

    Attributes:
        regions: where the selection may be shown.
    """

    regions: tuple[str, ...] = Field(min_length=1)


class Region(Rule):
    """Forbids the selection elsewhere, and where the visitor's region is not known.

    An item's own regions (`ItemFact.regions`) always hold and need no rule.
    """

    effect = "forbid"

    def __init__(self, config: RegionConfig) -> None:
        super().__init__(config)

    def concerns(self, ask: Ask) -> bool:
        """See `Rule.concerns`."""
        return ask.region is None or ask.region not in self.config.regions
