"""`kind = "seen"`: what the user has had is not shown again for a while."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from muma.serving.facts import ItemFact
from muma.serving.rules.moments import hours_us
from muma.serving.rules.rule import Case, Rule, RuleConfig


class SeenConfig(RuleConfig):
    """Settings.

    Attributes:
        horizon_hours: how long an item stays away after it was last seen; None is for ever.
        session: whether items of `Ask.session` count as seen just now.
    """

    horizon_hours: float | None = Field(default=None, gt=0)
    session: bool = True


class Seen(Rule):
    """Forbids items seen less than the horizon before the request; one seen exactly then is free again."""

    effect = "forbid"

    def __init__(self, config: SeenConfig) -> None:
        super().__init__(config)

    def touches(self, case: Case, item_N: np.ndarray | None, fixed_N: np.ndarray) -> np.ndarray:
        """See `Rule.touches`."""
        seen_I = np.zeros(len(case.facts), dtype=bool)
        user, horizon = case.user, self.config.horizon_hours
        recent_n = user.seen_n
        if horizon is not None and user.seen_at_n is not None:
            recent_n = recent_n[case.ask.time - user.seen_at_n < hours_us(horizon)]
        seen_I[recent_n[recent_n < len(seen_I)]] = True
        if self.config.session and case.ask.session:
            seen_I[case.facts.find_all(case.ask.session)] = True
        touched_N = super().touches(case, item_N, fixed_N)
        return touched_N & (seen_I if item_N is None else seen_I[item_N])

    def touches_one(self, case: Case, item: int, fact: ItemFact) -> bool:
        """See `Rule.touches_one`."""
        if not super().touches_one(case, item, fact):
            return False
        if self.config.session and fact.id in case.ask.session:
            return True
        at = case.user.seen_at_n
        places = np.flatnonzero(case.user.seen_n == item).tolist()
        times = [case.ask.time if at is None else int(at[n]) for n in places]
        if not times:
            return False
        horizon = self.config.horizon_hours
        return horizon is None or case.ask.time - max(times) < hours_us(horizon)
