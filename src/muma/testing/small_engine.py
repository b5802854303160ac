"""A small engine that is real: popularity, filters, a softmax over what may be shown, true propensities.

It holds everything in memory and needs no artifacts, so that tests of a door, a client or a page need
no training.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from muma.errors import ArtifactError, DataError, UnknownIdError
from muma.rng import derive
from muma.serving.parts import Item
from muma.serving.recommending import Answer, Ask, Evidence, ServedItem

COLUMNS = ("clicks",)
CONTEXT = ("page", "device")
VERSIONS = {"model": "popularity-1", "policy": "softmax-1", "rules": "none", "features": "1"}


@dataclass
class SmallEngine:
    """Shows what is clicked most, drawn slot by slot from softmax(log(1 + clicks)).

    Attributes:
        items: the catalogue by id; `least_age`, `regions` and times are obeyed.
        seed: of the draws; with the request id it fixes them.
        clicks: item -> clicks.
        histories: user -> items clicked, oldest first.

    Example:
        >>> engine = SmallEngine({"a": Item("a"), "b": Item("b", regions=("DE",))})
        >>> [slot.item for slot in engine.answer(Ask("r1", time=0)).answer.items]
        ['a']
    """

    items: dict[str, Item]
    seed: int = 0
    clicks: dict[str, int] = field(default_factory=dict)
    histories: dict[str, list[str]] = field(default_factory=dict)
    as_of: int = -1
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def learn(self, user: str, item: str | None, *, time: int) -> None:
        """One click."""
        with self._lock:
            self.as_of = max(self.as_of, time)
            if item is not None:
                self.clicks[item] = self.clicks.get(item, 0) + 1
                self.histories.setdefault(user, []).append(item)

    def forget(self, user: str) -> int:
        """Delete what is kept of a user; returns how many clicks that was."""
        with self._lock:
            gone = self.histories.pop(user, [])
            for item in gone:
                self.clicks[item] -= 1
            return len(gone)

    def answer(self, ask: Ask) -> Evidence:
        """Fill the slots."""
        if unknown := sorted(set(ask.context) - set(CONTEXT)):
            raise DataError(f"context: unknown name {unknown[0]!r}; allowed: {', '.join(CONTEXT)}")
        with self._lock:
            names = ask.candidates if ask.candidates is not None else tuple(self.items)
            seen = set(ask.exclude) | set(ask.session)
            shown = [name for name in dict.fromkeys(names) if name in self.items]
            shown = [n for n in shown if n not in seen and _allowed(self.items[n], ask)]
            value_NF = np.array([[self.clicks.get(n, 0)] for n in shown], np.float32)
            return self._drawn(ask, shown, value_NF.reshape(-1, 1), list(self.items))

    def replay(self, evidence: Evidence) -> Answer:
        """The same draws over the kept features."""
        if evidence.answer.versions != VERSIONS:
            raise ArtifactError(f"versions {dict(evidence.answer.versions)} are not here")
        order = list(self.items)
        shown = [order[index] for index in evidence.item_N]
        return self._drawn(evidence.ask, shown, evidence.value_NF, order).answer

    def similar(self, item: str, count: int, ask: Ask) -> Answer:
        """Items that share most tags, then those of the category."""
        with self._lock:
            if item not in self.items:
                raise UnknownIdError(f"there is no item {item!r:.80}")
            one = self.items[item]
            near = [
                (len(set(one.tags) & set(other.tags)) + (other.category == one.category), name)
                for name, other in self.items.items()
                if name != item and _allowed(other, ask)
            ]
        best = sorted(near, key=lambda pair: (-pair[0], pair[1]))[:count]
        slots = tuple(self._slot(n, float(score), 1.0, ask, explored=False) for score, n in best)
        return Answer(ask.request_id, slots, (), VERSIONS, self.as_of, {"all": 0})

    def user(self, user: str) -> Mapping[str, object]:
        """Clicks, newest last."""
        with self._lock:
            if user not in self.histories:
                raise UnknownIdError(f"there is no user {user!r:.80}")
            return {"clicks": list(self.histories[user]), "as_of": self.as_of}

    def _drawn(
        self, ask: Ask, shown: list[str], value_NF: np.ndarray, order: list[str]
    ) -> Evidence:
        score_N = np.log1p(value_NF[:, 0].astype(np.float64))
        weight_N, open_N = np.exp(score_N), np.ones(len(shown), bool)
        rng, slots, support = derive(self.seed, ask.request_id), [], []
        for _ in range(min(ask.count, len(shown))):
            chance_N = np.where(open_N, weight_N, 0.0)
            chance_N /= chance_N.sum()
            at = int(rng.choice(len(shown), p=chance_N))
            support.append(int(open_N.sum()))
            explored = bool(weight_N[at] < weight_N[open_N].max())
            slot = self._slot(shown[at], score_N[at], chance_N[at], ask, explored=explored)
            slots.append(slot)
            open_N[at] = False
        index = {name: place for place, name in enumerate(order)}
        made = Answer(ask.request_id, tuple(slots), (), VERSIONS, self.as_of, {"all": 0})
        return Evidence(
            ask=ask,
            answer=made,
            item_N=np.array([index[name] for name in shown], np.int64),
            value_NF=value_NF,
            columns=COLUMNS,
            propensity_K=np.array([slot.propensity for slot in slots], np.float64),
            support_K=np.array(support, np.int64),
            floor=float(weight_N.min() / weight_N.sum()) if len(shown) else 1.0,
            hits=(),
        )

    def _slot(
        self, name: str, score: float, propensity: float, ask: Ask, *, explored: bool
    ) -> ServedItem:
        item = self.items[name]
        return ServedItem(
            item=name,
            title=item.title,
            category=item.category,
            score=float(score),
            propensity=float(propensity),
            explored=explored,
            probability={},
            sources=("popularity",),
            reason="Many are reading it now." if ask.explain else None,
            groups={"popularity": float(score)} if ask.explain else {},
        )


def catalogue(items: Iterable[Item]) -> dict[str, Item]:
    """Items by id."""
    return {item.item_id: item for item in items}


def _allowed(item: Item, ask: Ask) -> bool:
    wanted, tags = ask.filters, set(item.tags)
    return (
        (not wanted.domains or item.domain in wanted.domains)
        and (not wanted.tags_any or bool(tags & set(wanted.tags_any)))
        and not tags & set(wanted.tags_none)
        and (not wanted.categories or item.category in wanted.categories)
        and (not wanted.authors or item.author in wanted.authors)
        and (not item.least_age or (ask.age is not None and ask.age >= item.least_age))
        and (not item.regions or ask.region in item.regions)
        and (item.rights_from is None or item.rights_from <= ask.time)
        and (item.rights_until is None or ask.time < item.rights_until)
        and (item.embargo_until is None or item.embargo_until <= ask.time)
        and (item.expires_at is None or ask.time < item.expires_at)
    )
