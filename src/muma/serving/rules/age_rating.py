"""`kind = "age_rating"`: a selection is for viewers of some age."""

from __future__ import annotations

from pydantic import Field

from muma.serving.recommending import Ask
from muma.serving.rules.rule import Rule, RuleConfig


class AgeRatingConfig(RuleConfig):
    """Settings.

    Attributes:
        least_age: years a viewer must have.
    """

    least_age: int = Field(gt=0, le=150)


class AgeRating(Rule):
    """Forbids the selection to who is younger, and to who does not say.

    An item's own rating (`ItemFact.least_age`) always holds and needs no rule.
    """

    effect = "forbid"

    def __init__(self, config: AgeRatingConfig) -> None:
        super().__init__(config)

    def concerns(self, ask: Ask) -> bool:
        """See `Rule.concerns`."""
        return ask.age is None or ask.age < self.config.least_age
