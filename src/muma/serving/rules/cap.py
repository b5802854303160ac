"""`kind = "author_cap"` and `kind = "topic_cap"`: at most so many of one author, of one topic.

Shape: N candidates, X memberships.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from muma.serving.facts import ItemFact
from muma.serving.rules.rule import Bounds, Case, Rule, RuleConfig


class AuthorCapConfig(RuleConfig):
    """Settings.

    Attributes:
        most: items of one author.
        within: in the first so many slots; None is the whole list.
    """

    most: int = Field(ge=1)
    within: int | None = Field(default=None, ge=1)


class AuthorCap(Rule):
    """At most `most` items of every author; items without an author are not counted."""

    effect = "limit"

    def __init__(self, config: AuthorCapConfig) -> None:
        super().__init__(config)

    def bounds(self, count: int) -> Bounds:
        """See `Rule.bounds`."""
        within = self.config.within
        return Bounds(count if within is None else min(within, count), high=self.config.most)

    def groups(self, case: Case, item_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Rule.groups`."""
        return _by_code(case.facts.codes("author")[item_N])

    def groups_one(self, fact: ItemFact) -> tuple[str, ...]:
        """See `Rule.groups_one`."""
        return () if fact.author is None else (fact.author,)


class TopicCapConfig(RuleConfig):
    """Settings.

    Attributes:
        most: items of one topic.
        by: what a topic is: the category, or every tag.
        within: in the first so many slots; None is the whole list.
    """

    most: int = Field(ge=1)
    by: Literal["category", "tag"] = "category"
    within: int | None = Field(default=None, ge=1)


class TopicCap(Rule):
    """At most `most` items of every topic; an item with several tags counts for each of them."""

    effect = "limit"

    def __init__(self, config: TopicCapConfig) -> None:
        super().__init__(config)

    def bounds(self, count: int) -> Bounds:
        """See `Rule.bounds`."""
        within = self.config.within
        return Bounds(count if within is None else min(within, count), high=self.config.most)

    def groups(self, case: Case, item_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Rule.groups`."""
        if self.config.by == "category":
            return _by_code(case.facts.codes("category")[item_N])
        place_X, tag_X = case.facts.tag.pairs(item_N)
        return place_X, tag_X.astype(np.int64)

    def groups_one(self, fact: ItemFact) -> tuple[str, ...]:
        """See `Rule.groups_one`."""
        if self.config.by == "tag":
            return tuple(set(fact.tags))
        return () if fact.category is None else (fact.category,)


def _by_code(code_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    place_X = np.flatnonzero(code_N >= 0)
    return place_X, code_N[place_X].astype(np.int64)
