"""`kind = "boost"`: a selection is preferred, or held back."""

from __future__ import annotations

from pydantic import Field

from muma.serving.rules.rule import Rule, RuleConfig


class BoostConfig(RuleConfig):
    """Settings.

    Attributes:
        log_odds: added to the score; 0.69 doubles the odds, a negative one holds back.
    """

    log_odds: float = Field(ge=-50, le=50)


class Boost(Rule):
    """Adds to the scores of the selection; several boosts add up."""

    effect = "boost"

    def __init__(self, config: BoostConfig) -> None:
        super().__init__(config)

    def log_odds(self) -> float:
        """See `Rule.log_odds`."""
        return self.config.log_odds
