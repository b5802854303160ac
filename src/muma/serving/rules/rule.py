"""The contract of this room: a `Rule`, what it is told, and what it says.

A rule has one effect. `forbid` rules say which items must not appear; they are hard and never relaxed.
`boost` rules add log-odds. `limit` rules bound how many of a group stand in the first slots. `pin` rules
give a slot to an item. Every rule speaks twice: for arrays, quickly, and for one item in plain Python,
which is the last check before an answer leaves. `muma.testing.rule_suite.RuleSuite` holds both together.

Shape: I items, N candidates, X memberships of candidates in groups.
"""

from __future__ import annotations

import math
from abc import ABC
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from muma.config import Config
from muma.serving.facts import ItemFact, ItemFacts
from muma.serving.recommending import Ask
from muma.serving.rules.audience import Audience
from muma.serving.rules.moments import Moment
from muma.serving.rules.selection import Selection

Effect = Literal["forbid", "boost", "limit", "pin"]
NO_ITEMS = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class UserState:
    """What rules know of a user.

    Attributes:
        seen_n: dense items the user has taken or been shown, int64 [n]; one may come several times.
        seen_at_n: when, int64 microseconds [n]; None takes all of them for just now.
        blocked_n: dense items the user does not want, int64.
    """

    seen_n: np.ndarray = field(default_factory=lambda: NO_ITEMS)
    seen_at_n: np.ndarray | None = None
    blocked_n: np.ndarray = field(default_factory=lambda: NO_ITEMS)


@dataclass(frozen=True)
class Case:
    """One request, as rules are told of it."""

    ask: Ask
    facts: ItemFacts
    user: UserState = UserState()


class RuleConfig(Config):
    """What every rule has.

    Attributes:
        id: names the rule; unique within a set.
        enabled: a rule that is not has no effect.
        valid_from: first moment it holds; None has always held.
        valid_until: first moment it holds no more; None is for ever.
        audience: requests it is for.
        select: items it is about; empty is every item.
        note: for people.
    """

    id: str = Field(min_length=1, max_length=200)
    enabled: bool = True
    valid_from: Moment | None = None
    valid_until: Moment | None = None
    audience: Audience = Audience()
    select: Selection = Selection()
    note: str = ""

    @model_validator(mode="after")
    def _window(self) -> Self:
        """Refuse a window that holds nothing."""
        start, end = self.valid_from, self.valid_until
        if start is not None and end is not None and start >= end:
            raise ValueError("valid_from is not before valid_until; the rule would never hold")
        return self


@dataclass(frozen=True)
class Bounds:
    """How many members of one group may stand in the first slots.

    Attributes:
        within: the first so many slots.
        low: at least so many, if there are enough to be had.
        high: at most so many; None is any number.
    """

    within: int
    low: int = 0
    high: int | None = None


def share_floor(share: float, slots: int) -> int:
    """Most members that are at most this share of the slots.

    Example:
        >>> share_floor(0.3, 10), share_floor(1 / 3, 10)
        (3, 3)
    """
    return math.floor(share * slots + 1e-9)


def share_ceil(share: float, slots: int) -> int:
    """Fewest members that are at least this share of the slots.

    Example:
        >>> share_ceil(0.3, 10), share_ceil(0.31, 10)
        (3, 4)
    """
    return math.ceil(share * slots - 1e-9)


class Rule(ABC):
    """Base of rules: about the items of `config.select`, for the requests of `config.audience`.

    Args:
        config: the rule's own settings.
    """

    effect: ClassVar[Effect]

    def __init__(self, config: RuleConfig) -> None:
        self.config: Any = config

    @property
    def id(self) -> str:
        """The rule's name."""
        return self.config.id

    @property
    def timeless(self) -> bool:
        """Whether `touches` is `fixed` for every request that the rule holds for."""
        return type(self).touches is Rule.touches and not self.config.select.aging

    def holds(self, ask: Ask) -> bool:
        """Whether the rule is in force for a request."""
        own = self.config
        return (
            own.enabled
            and (own.valid_from is None or own.valid_from <= ask.time)
            and (own.valid_until is None or ask.time < own.valid_until)
            and own.audience.covers(ask, unknown=self.effect == "forbid")
            and self.concerns(ask)
        )

    def concerns(self, ask: Ask) -> bool:
        """What a kind of rule asks of a request beyond time and audience."""
        del ask
        return True

    def fixed(self, facts: ItemFacts, row_n: np.ndarray | None = None) -> np.ndarray:
        """Items the rule is about as far as time and request do not matter, boolean [n]; kept ready."""
        return self.config.select.mask(facts, row_n)

    def touches(self, case: Case, item_N: np.ndarray | None, fixed_N: np.ndarray) -> np.ndarray:
        """Candidates the rule is about in this request, boolean [N]; a `forbid` rule forbids them.

        Args:
            case: the request.
            item_N: dense candidates; None is every item.
            fixed_N: `fixed` of them.
        """
        aged_N = self.config.select.aged(case.facts, case.ask.time, item_N)
        return fixed_N if aged_N is None else fixed_N & aged_N

    def touches_one(self, case: Case, item: int, fact: ItemFact) -> bool:
        """`touches` for one item, by a way of its own."""
        del item
        return self.config.select.holds(fact, case.ask.time)

    def log_odds(self) -> float:
        """What a `boost` rule adds to the score of an item it touches."""
        return 0.0

    def bounds(self, count: int) -> Bounds:
        """What a `limit` rule demands of a list of `count` slots."""
        return Bounds(count)

    def groups(self, case: Case, item_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Groups that a `limit` rule counts apart: place of a candidate and group, int64 [X] each.

        Only memberships of candidates that it touches count; one group of all by default.
        """
        del case
        return np.arange(len(item_N)), np.zeros(len(item_N), dtype=np.int64)

    def groups_one(self, fact: ItemFact) -> tuple[str, ...]:
        """`groups` of one item, by names."""
        del fact
        return ("",)

    def problems(self, facts: ItemFacts) -> list[str]:
        """What is wrong with the rule in view of a catalogue, a sentence each."""
        missing = [item for item in self.config.select.items if facts.find(item) < 0]
        return [f"there is no item {item!r}" for item in missing]
