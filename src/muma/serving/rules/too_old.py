"""`kind = "too_old"`: nothing older than an age."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from muma.serving.facts import BEGINNING, ItemFact
from muma.serving.rules.moments import hours_us
from muma.serving.rules.rule import Case, Rule, RuleConfig


class TooOldConfig(RuleConfig):
    """Settings.

    Attributes:
        age_hours: items of the selection published this long ago, or longer, are forbidden.
        undated: whether an item whose time of publication is not known may be shown.
    """

    age_hours: float = Field(gt=0)
    undated: bool = False


class TooOld(Rule):
    """Forbids items of the selection that were published too long ago, or nobody knows when."""

    effect = "forbid"

    def __init__(self, config: TooOldConfig) -> None:
        super().__init__(config)

    def touches(self, case: Case, item_N: np.ndarray | None, fixed_N: np.ndarray) -> np.ndarray:
        """See `Rule.touches`."""
        at_N = case.facts.times("published_at")
        at_N = at_N if item_N is None else at_N[item_N]
        old_N = case.ask.time - at_N >= hours_us(self.config.age_hours)
        if self.config.undated:
            old_N &= at_N > BEGINNING
        return super().touches(case, item_N, fixed_N) & old_N

    def touches_one(self, case: Case, item: int, fact: ItemFact) -> bool:
        """See `Rule.touches_one`."""
        if not super().touches_one(case, item, fact):
            return False
        if fact.published_at is None:
            return not self.config.undated
        return case.ask.time - fact.published_at >= hours_us(self.config.age_hours)
