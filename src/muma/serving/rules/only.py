"""`kind = "only"`: nothing but a selection, by tag, category, author, domain, item or age."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import model_validator

from muma.serving.facts import ItemFact
from muma.serving.rules.rule import Case, Rule, RuleConfig


class OnlyConfig(RuleConfig):
    """Settings; `select` must not be empty."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.select.empty:
            raise ValueError("select is empty: that would allow every item; name what may be shown")
        return self


class Only(Rule):
    """Forbids everything outside the selection, items that lack the attribute asked for among them."""

    effect = "forbid"

    def __init__(self, config: OnlyConfig) -> None:
        super().__init__(config)

    def touches(self, case: Case, item_N: np.ndarray | None, fixed_N: np.ndarray) -> np.ndarray:
        """See `Rule.touches`."""
        return ~super().touches(case, item_N, fixed_N)

    def touches_one(self, case: Case, item: int, fact: ItemFact) -> bool:
        """See `Rule.touches_one`."""
        return not super().touches_one(case, item, fact)
