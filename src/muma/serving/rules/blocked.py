"""`kind = "blocked"`: items that must not appear, for anybody or for some users."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from muma.serving.facts import ItemFact, ItemFacts
from muma.serving.recommending import Ask
from muma.serving.rules.rule import Case, Rule, RuleConfig


class BlockedConfig(RuleConfig):
    """Settings.

    Attributes:
        items: own ids; one that is not known yet is blocked as soon as it comes.
        users: own ids of the users they are blocked for; empty is everybody.
    """

    items: tuple[str, ...] = Field(min_length=1)
    users: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _alone(self) -> Self:
        if not self.select.empty:
            raise ValueError("blocked names its items by `items`; leave select out, or use without")
        return self


class Blocked(Rule):
    """Forbids the items named. What a user hid (`UserState.blocked_n`) needs no rule."""

    effect = "forbid"

    def __init__(self, config: BlockedConfig) -> None:
        super().__init__(config)
        self._items = frozenset(config.items)
        self._users = frozenset(config.users)

    def concerns(self, ask: Ask) -> bool:
        """See `Rule.concerns`."""
        return not self._users or ask.user in self._users

    def fixed(self, facts: ItemFacts, row_n: np.ndarray | None = None) -> np.ndarray:
        """See `Rule.fixed`."""
        blocked_I = np.zeros(len(facts), dtype=bool)
        blocked_I[facts.find_all(self._items)] = True
        return blocked_I if row_n is None else blocked_I[row_n]

    def touches_one(self, case: Case, item: int, fact: ItemFact) -> bool:
        """See `Rule.touches_one`."""
        del case, item
        return fact.id in self._items

    def problems(self, facts: ItemFacts) -> list[str]:
        """See `Rule.problems`."""
        missing = [item for item in self.config.items if facts.find(item) < 0]
        return [f"there is no item {item!r} (yet)" for item in missing]
