"""The contract of this room: an `Ask` in, an `Answer` and its `Evidence` out.

An engine answers; whoever speaks HTTP, a test or a replay hands it an `Ask` and gets the same answer for
the same ask, models, rules and features. Ids are the caller's own here, text throughout; dense indices
stay inside the engine.

Shape: K slots, N candidates, F features, S sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import numpy as np


@dataclass(frozen=True)
class Filters:
    """What the caller wants to see, on top of the editors' rules; an empty field allows everything.

    Attributes:
        domains: `news`, `video`, `ad` ...: an item of another domain is left out.
        tags_any: an item needs one of them.
        tags_none: an item with one of them is left out.
        categories: an item's category is one of them.
        authors: an item's author is one of them.
    """

    domains: tuple[str, ...] = ()
    tags_any: tuple[str, ...] = ()
    tags_none: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ask:
    """One request for a list.

    Attributes:
        request_id: names the request; with the policy's seed it fixes every random draw.
        time: event time of the request, microseconds since 1970 UTC.
        tenant: whose artifacts, rules and quotas apply.
        user: the user's own id; None for an anonymous visitor.
        session: items taken in this session, oldest first; all there is of an anonymous visitor.
        count: slots to fill, at least 1.
        context: of the request (page, device), by the names the recipe knows.
        region: of the visitor, for rights; None when unknown, and then items with regional rights are out.
        age: years, for age ratings; None when unknown, and then only unrated items and those for all are in.
        filters: what the caller wants to see.
        exclude: items that must not appear.
        candidates: the caller's own items to be ranked; None lets the sources propose.
        explain: whether sentences and attributions are wanted.
        profiling: whether the user's own behaviour may be used (DSA Art. 38).
        consent: sources of data the user agreed to, beyond clicks and plays: `gaze`, `social`.
        deadline_us: microseconds the answer may take; what does not fit is left out and said.
    """

    request_id: str
    time: int
    tenant: str = "default"
    user: str | None = None
    session: tuple[str, ...] = ()
    count: int = 10
    context: Mapping[str, float | str] = field(default_factory=dict)
    region: str | None = None
    age: int | None = None
    filters: Filters = Filters()
    exclude: tuple[str, ...] = ()
    candidates: tuple[str, ...] | None = None
    explain: bool = False
    profiling: bool = True
    consent: tuple[str, ...] = ()
    deadline_us: int = 50_000


@dataclass(frozen=True)
class Hit:
    """A rule that touched an answer.

    Attributes:
        rule: its id.
        action: `removed`, `pinned`, `boosted`, `capped`, `kept out` (of a slot by a quota) ...
        items: the items touched, at most 20 named.
        count: how many were.
    """

    rule: str
    action: str
    items: tuple[str, ...]
    count: int


class ServedItem(msgspec.Struct, frozen=True):
    """One slot; a struct, which is made in a tenth of a dataclass's time, ten of them an answer.

    Attributes:
        item: the item's own id.
        title: its title, if it has one.
        category: its category, if it has one.
        score: log-odds that ordered it; NaN where no ranker spoke.
        propensity: probability of this item in this slot given the slots before, in (0, 1].
        explored: whether the slot went to another than the best.
        probability: label -> calibrated probability.
        sources: the sources that proposed it; `rule` for a pin, `editors` for the editorial list.
        reason: a sentence; None unless asked for.
        groups: group of features -> its part of the score; empty unless asked for.
        rules: ids of the rules that put or moved it here.
    """

    item: str
    title: str | None
    category: str | None
    score: float
    propensity: float
    explored: bool
    probability: Mapping[str, float]
    sources: tuple[str, ...]
    reason: str | None = None
    groups: Mapping[str, float] = {}
    rules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What is shown.

    Attributes:
        request_id: of the ask.
        items: in slot order; fewer than asked for only when rules and filters allow no more.
        degraded: what was left out and why, as `part: reason`; empty for a full answer.
        versions: model, policy, rules and features -> version.
        as_of: newest event time in the features that were read, microseconds; -1 for none.
        stages_us: stage -> microseconds it took.
    """

    request_id: str
    items: tuple[ServedItem, ...]
    degraded: tuple[str, ...]
    versions: Mapping[str, str]
    as_of: int
    stages_us: Mapping[str, int]


@dataclass(frozen=True)
class Evidence:
    """Everything an answer rested on; with the artifacts it reproduces the answer bit for bit.

    Attributes:
        ask: as it came.
        answer: as it went.
        item_N: dense candidates in the order they were ranked, int64 [N].
        value_NF: the features that the ranker saw, float32 [N, F].
        columns: their names.
        propensity_K: as in the answer, float64 [K].
        support_K: candidates that could have taken each slot, int64 [K].
        floor: least probability of any candidate in a slot's support.
        hits: rules that touched the answer.
        user_index: the user's dense index, -1 for none.
        vector_D: the interest vector that was used, float32 [D]; None without one.
        history_L: dense items the sources read, oldest first, int64 [L].
        withheld: sources of data (`behaviour`, `social`, `gaze`) that were not read, for want of consent.
        arm_NW: of a policy of arms, the statistics of the candidates that it chose by, float64 [N, W].
        arm_total_1W: and of all items, float64 [1, W].
    """

    ask: Ask
    answer: Answer
    item_N: np.ndarray
    value_NF: np.ndarray
    columns: tuple[str, ...]
    propensity_K: np.ndarray
    support_K: np.ndarray
    floor: float
    hits: tuple[Hit, ...]
    user_index: int = -1
    vector_D: np.ndarray | None = None
    history_L: np.ndarray | None = None
    withheld: tuple[str, ...] = ()
    arm_NW: np.ndarray | None = None
    arm_total_1W: np.ndarray | None = None


class Recommending(Protocol):
    """What serves one tenant. Safe to call from several threads."""

    def answer(self, ask: Ask) -> Evidence:
        """Fill the slots; never empty while any item is allowed.

        Raises:
            DataError: the ask cannot be understood (a context name that is unknown, say).
        """
        ...

    def replay(self, evidence: Evidence) -> Answer:
        """The answer again, from the kept features, under the artifacts and rules of then.

        Raises:
            ArtifactError: those versions are not here.
        """
        ...

    def similar(self, item: str, count: int, ask: Ask) -> Answer:
        """Items near another, under the same rules.

        Raises:
            UnknownIdError: there is no such item.
        """
        ...

    def user(self, user: str) -> Mapping[str, object]:
        """What is known of a user: features by name, sequences, freshness in microseconds.

        Raises:
            UnknownIdError: nobody has this id.
        """
        ...
