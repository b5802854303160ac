"""`kind = "own_items"`: nobody is shown the items that are their own."""

from __future__ import annotations

import numpy as np

from muma.serving.facts import ItemFact
from muma.serving.recommending import Ask
from muma.serving.rules.rule import Case, Rule, RuleConfig


class OwnItemsConfig(RuleConfig):
    """Settings; none of its own."""


class OwnItems(Rule):
    """Forbids items whose owner is the user who asks; an item without an owner is nobody's."""

    effect = "forbid"

    def __init__(self, config: OwnItemsConfig) -> None:
        super().__init__(config)

    def concerns(self, ask: Ask) -> bool:
        """See `Rule.concerns`."""
        return ask.user is not None

    def touches(self, case: Case, item_N: np.ndarray | None, fixed_N: np.ndarray) -> np.ndarray:
        """See `Rule.touches`."""
        code = case.facts.words["owner"].code(case.ask.user)
        if code < 0:
            return np.zeros(len(fixed_N), dtype=bool)
        owner_N = case.facts.codes("owner")
        owner_N = owner_N if item_N is None else owner_N[item_N]
        return super().touches(case, item_N, fixed_N) & (owner_N == code)

    def touches_one(self, case: Case, item: int, fact: ItemFact) -> bool:
        """See `Rule.touches_one`."""
        return fact.owner == case.ask.user and super().touches_one(case, item, fact)
