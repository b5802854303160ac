"""What holds for every request without any rule: the caller's wishes and the items' own limits.

Names as they stand in hits: `ask.exclude`, `ask.filters`, `user.blocked`, `item.region`, `item.age`,
`item.rights`, `item.embargo`, `item.expiry`. An item without an age rating is for all, one without
regions may be shown everywhere, one without a date is not bound by it.

Shape: I items, N candidates, T times.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from muma.serving.facts import TIMES, ItemFact, ItemFacts
from muma.serving.recommending import Filters
from muma.serving.rules.rule import Case

_FROM, _UNTIL, _EMBARGO, _EXPIRY = (TIMES.index(name) for name in TIMES[1:])
_FIELDS = (("domains", "domain"), ("categories", "category"), ("authors", "author"))


def standing(case: Case, item_N: np.ndarray | None) -> Iterator[tuple[str, np.ndarray]]:
    """Name of a limit and what it forbids, boolean [N]; limits that cannot bite are left out."""
    ask, facts = case.ask, case.facts
    n = len(facts) if item_N is None else len(item_N)
    at = slice(None) if item_N is None else item_N
    yield from _of_time_and_age(case, at)
    if len(facts.region_sets) > 1:
        shown_S = _regions_open(facts, ask.region)
        yield "item.region", ~shown_S[facts.region_I[at]]
    if ask.exclude:
        yield "ask.exclude", _among(facts.find_all(ask.exclude), facts, item_N)
    if len(case.user.blocked_n):
        yield "user.blocked", _among(case.user.blocked_n, facts, item_N)
    if ask.filters != Filters():
        wanted_N = np.ones(n, dtype=bool)
        for wanted, name in _FIELDS:
            if values := getattr(ask.filters, wanted):
                wanted_N &= np.isin(facts.codes(name)[at], facts.words[name].codes(values))
        if ask.filters.tags_any:
            wanted_N &= facts.tag.any_of(facts.tags.codes(ask.filters.tags_any), item_N)
        if ask.filters.tags_none:
            wanted_N &= ~facts.tag.any_of(facts.tags.codes(ask.filters.tags_none), item_N)
        yield "ask.filters", ~wanted_N


def _of_time_and_age(case: Case, at: slice | np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    ask, facts = case.ask, case.facts
    time_NT = facts.time_IT[at]
    latest_T, earliest_T, least_age = facts.strictest
    if ask.time < latest_T[_FROM] or ask.time >= earliest_T[_UNTIL]:
        yield "item.rights", (ask.time < time_NT[:, _FROM]) | (ask.time >= time_NT[:, _UNTIL])
    if ask.time < latest_T[_EMBARGO]:
        yield "item.embargo", ask.time < time_NT[:, _EMBARGO]
    if ask.time >= earliest_T[_EXPIRY]:
        yield "item.expiry", ask.time >= time_NT[:, _EXPIRY]
    age = 0 if ask.age is None else ask.age
    if least_age > age:
        yield "item.age", facts.age_I[at] > age


class StandingOne:
    """The same limits for one item after another, by a way of its own.

    Args:
        case: the request.
    """

    def __init__(self, case: Case) -> None:
        self._ask, self._blocked = case.ask, frozenset(case.user.blocked_n.tolist())
        self._exclude, self._wishes = frozenset(case.ask.exclude), case.ask.filters != Filters()

    def of(self, item: int, fact: ItemFact) -> str | None:
        """Name of the first limit that forbids an item; None if none does."""
        ask, time = self._ask, self._ask.time
        start, end, embargo, expiry = (
            fact.rights_from, fact.rights_until, fact.embargo_until, fact.expires_at,
        )  # fmt: skip
        return (
            "item.rights" if (start is not None and time < start) or (end is not None and time >= end)
            else "item.embargo" if embargo is not None and time < embargo
            else "item.expiry" if expiry is not None and time >= expiry
            else "item.age" if fact.least_age > 0 and (ask.age is None or ask.age < fact.least_age)
            else "item.region" if fact.regions and ask.region not in fact.regions
            else "ask.exclude" if fact.id in self._exclude
            else "user.blocked" if item in self._blocked
            else "ask.filters" if self._wishes and not _wanted(ask.filters, fact)
            else None
        )  # fmt: skip


def _wanted(wish: Filters, fact: ItemFact) -> bool:
    tags = set(fact.tags)
    return (
        (not wish.domains or fact.domain in wish.domains)
        and (not wish.categories or fact.category in wish.categories)
        and (not wish.authors or fact.author in wish.authors)
        and (not wish.tags_any or not tags.isdisjoint(wish.tags_any))
        and tags.isdisjoint(wish.tags_none)
    )


def _among(some_n: np.ndarray, facts: ItemFacts, item_N: np.ndarray | None) -> np.ndarray:
    in_I = np.zeros(len(facts), dtype=bool)
    in_I[some_n[some_n < len(in_I)]] = True
    return in_I if item_N is None else in_I[item_N]


def _regions_open(facts: ItemFacts, region: str | None) -> np.ndarray:
    """Which sets of regions a visitor may see, boolean [S]."""
    sets = facts.region_sets.values
    return np.array([not regions or region in regions for regions in list(sets)], dtype=bool)
