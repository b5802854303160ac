"""Which items a rule is about.

Shape: I items, N candidates.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.serving.facts import BEGINNING, ItemFact, ItemFacts
from muma.serving.rules.moments import hours_us

_TEXTS = (("categories", "category"), ("authors", "author"), ("domains", "domain"))


class Selection(Config):
    """Items that pass every field that is given; an empty selection is every item.

    What is not known of an item passes no field: an item without a category is in no `categories`, one
    without a time of publication is neither younger nor older than anything.

    Attributes:
        items: own ids.
        tags_any: an item has one of them.
        tags_all: an item has all of them.
        categories: an item's category is one of them.
        authors: an item's author is one of them.
        domains: an item's domain is one of them.
        younger_than_hours: published less than this before the request.
        older_than_hours: published at least this long before the request.

    Example:
        >>> facts = ItemFacts.empty().with_items([ItemFact("a", tags=("war",)), ItemFact("b")])
        >>> Selection(tags_any=("war",)).mask(facts).tolist()
        [True, False]
    """

    items: tuple[str, ...] = ()
    tags_any: tuple[str, ...] = ()
    tags_all: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    younger_than_hours: float | None = Field(default=None, gt=0)
    older_than_hours: float | None = Field(default=None, ge=0)

    @property
    def empty(self) -> bool:
        """Whether every item is meant."""
        return self == EVERYTHING

    @property
    def aging(self) -> bool:
        """Whether time alone moves items in or out."""
        return self.younger_than_hours is not None or self.older_than_hours is not None

    def mask(self, facts: ItemFacts, row_n: np.ndarray | None = None) -> np.ndarray:
        """Items that pass all fields but the ages, boolean [n]; `row_n` None is every item."""
        n = len(facts) if row_n is None else len(row_n)
        in_n = np.ones(n, dtype=bool)
        if self.items:
            wanted_I = np.zeros(len(facts), dtype=bool)
            wanted_I[facts.find_all(self.items)] = True
            in_n &= wanted_I if row_n is None else wanted_I[row_n]
        for wanted, name in _TEXTS:
            if values := getattr(self, wanted):
                code_n = facts.codes(name) if row_n is None else facts.codes(name)[row_n]
                in_n &= np.isin(code_n, facts.words[name].codes(values))
        if self.tags_any:
            in_n &= facts.tag.any_of(facts.tags.codes(self.tags_any), row_n)
        for tag in self.tags_all:
            in_n &= facts.tag.any_of(facts.tags.codes([tag]), row_n)
        return in_n

    def aged(self, facts: ItemFacts, time: int, item_N: np.ndarray | None) -> np.ndarray | None:
        """Items that pass the ages at a time, boolean [N]; None when there is no such field."""
        if not self.aging:
            return None
        at_N = facts.times("published_at")
        at_N = at_N if item_N is None else at_N[item_N]
        in_N = at_N > BEGINNING
        if self.younger_than_hours is not None:
            in_N &= time - at_N < hours_us(self.younger_than_hours)
        if self.older_than_hours is not None:
            in_N &= time - at_N >= hours_us(self.older_than_hours)
        return in_N

    def holds(self, fact: ItemFact, time: int) -> bool:
        """Whether one item passes, said once more without arrays."""
        tags, young, old = fact.tags, self.younger_than_hours, self.older_than_hours
        age = None if fact.published_at is None else time - fact.published_at
        return (
            (not self.items or fact.id in self.items)
            and (not self.tags_any or any(tag in tags for tag in self.tags_any))
            and all(tag in tags for tag in self.tags_all)
            and (not self.categories or fact.category in self.categories)
            and (not self.authors or fact.author in self.authors)
            and (not self.domains or fact.domain in self.domains)
            and (young is None or (age is not None and age < hours_us(young)))
            and (old is None or (age is not None and age >= hours_us(old)))
        )


EVERYTHING = Selection()
