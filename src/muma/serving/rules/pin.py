"""`kind = "pin"`: an item has a slot of its own."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from muma.serving.facts import ItemFact, ItemFacts
from muma.serving.rules.rule import Case, Rule, RuleConfig


class PinConfig(RuleConfig):
    """Settings.

    Attributes:
        item: own id of the item.
        slot: from 0, as `position` in events.
    """

    item: str
    slot: int = Field(ge=0, le=10_000)

    @model_validator(mode="after")
    def _alone(self) -> Self:
        if not self.select.empty:
            raise ValueError("a pin names its item by `item`; leave select out")
        return self


class Pin(Rule):
    """Gives the slot to the item if no rule forbids it and the caps have room for it.

    Of two pins for one slot, or of one item, the one that stands first in the set holds. A list that
    ends before the slot gives the item its last slot.
    """

    effect = "pin"

    def __init__(self, config: PinConfig) -> None:
        super().__init__(config)

    def fixed(self, facts: ItemFacts, row_n: np.ndarray | None = None) -> np.ndarray:
        """See `Rule.fixed`."""
        rows = np.arange(len(facts)) if row_n is None else row_n
        return rows == facts.find(self.config.item)

    def touches_one(self, case: Case, item: int, fact: ItemFact) -> bool:
        """See `Rule.touches_one`."""
        del case, item
        return fact.id == self.config.item

    def problems(self, facts: ItemFacts) -> list[str]:
        """See `Rule.problems`."""
        known = facts.find(self.config.item) >= 0
        return [] if known else [f"there is no item {self.config.item!r}"]
