"""What rules know of items: arrays over a catalogue's dense items, in snapshots that never change.

A reader keeps the snapshot it began with; a writer makes the next one with `with_items` and puts it in
place by one assignment. Times are UTC microseconds.

Shape: I items, N candidates, T = 5 times of an item.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from muma.errors import DataError, UnknownIdError
from muma.serving.ragged import Ragged
from muma.serving.words import Words

BEGINNING, END = -(2**62), 2**62
TIMES = ("published_at", "rights_from", "rights_until", "embargo_until", "expires_at")
NO_TIME = (BEGINNING, BEGINNING, END, BEGINNING, END)
TEXTS = ("domain", "category", "author", "owner")
MAX_AGE = 2**15 - 1
_stamps = itertools.count()


@dataclass(frozen=True)
class ItemFact:
    """One item.

    Attributes:
        id: the item's own id.
        title: None without one.
        domain: `news`, `video` ...; None is unknown.
        category: None is unknown.
        author: None is unknown.
        tags: in any order.
        published_at: None is unknown.
        least_age: years a viewer must have; 0 is for all, and so is an item without a rating.
        regions: where it may be shown; empty is everywhere.
        rights_from: first microsecond of the rights; None has always been.
        rights_until: first microsecond without them; None is for ever.
        embargo_until: first microsecond it may be shown; None has no embargo.
        expires_at: first microsecond it may no longer be shown; None never expires.
        owner: own id of the user whose item it is; None is nobody's.
    """

    id: str
    title: str | None = None
    domain: str | None = None
    category: str | None = None
    author: str | None = None
    tags: tuple[str, ...] = ()
    published_at: int | None = None
    least_age: int = 0
    regions: tuple[str, ...] = ()
    rights_from: int | None = None
    rights_until: int | None = None
    embargo_until: int | None = None
    expires_at: int | None = None
    owner: str | None = None

    def __post_init__(self) -> None:
        """Refuse what the arrays cannot hold."""
        if not self.id:
            raise DataError("an item without an id; give every item its own")
        if not 0 <= self.least_age <= MAX_AGE:
            raise DataError(f"item {self.id!r}: least_age is {self.least_age}; give years from 0")
        for name in TIMES:
            time = getattr(self, name)
            if time is not None and not BEGINNING < time < END:
                raise DataError(
                    f"item {self.id!r}: {name} is {time}; give UTC microseconds below 2**62"
                )


@dataclass(frozen=True)
class ItemFacts:
    """A snapshot of the catalogue; made by `empty().with_items(...)` or `muma.serving.catalogue`.

    Attributes:
        ids: own id by dense item.
        titles: title by dense item.
        index: own id -> dense item; may know items that later snapshots added.
        code_IC: codes of domain, category, author and owner, int32 [I, 4]; -1 is unknown.
        time_IT: `TIMES` of each item, int64 [I, 5]; `NO_TIME` where an item has none.
        age_I: least age, int16 [I].
        region_I: code of the set of regions, int32 [I].
        tag: tags of each item, codes.
        words: vocabularies of `TEXTS`.
        tags: vocabulary of tags.
        region_sets: vocabulary of sets of regions; code 0 is everywhere.
        stamp: tells snapshots apart.
        changed: stamp of the snapshot it was made from and the items that differ; None for a first one.

    Example:
        >>> facts = ItemFacts.empty().with_items([ItemFact("a", tags=("war",)), ItemFact("b")])
        >>> facts.dense("b"), facts.one(0).tags, len(facts)
        (1, ('war',), 2)
    """

    ids: list[str]
    titles: list[str | None]
    index: dict[str, int]
    code_IC: np.ndarray
    time_IT: np.ndarray
    age_I: np.ndarray
    region_I: np.ndarray
    tag: Ragged
    words: dict[str, Words[str]]
    tags: Words[str]
    region_sets: Words[frozenset[str]]
    stamp: int = field(default_factory=lambda: next(_stamps))
    changed: tuple[int, np.ndarray] | None = None
    _told: dict[int, ItemFact] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Stamps are of a process: a snapshot that came to another one gets one of its own there."""
        held = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        return _of_elsewhere, (held | {"stamp": None, "changed": None},)

    @classmethod
    def empty(cls) -> ItemFacts:
        """A catalogue without items."""
        sets = Words[frozenset[str]]()
        sets.add(frozenset())
        return cls(
            ids=[],
            titles=[],
            index={},
            code_IC=np.empty((0, len(TEXTS)), np.int32),
            time_IT=np.empty((0, len(TIMES)), np.int64),
            age_I=np.empty(0, np.int16),
            region_I=np.empty(0, np.int32),
            tag=Ragged.of([]),
            words={name: Words[str]() for name in TEXTS},
            tags=Words[str](),
            region_sets=sets,
        )

    def __len__(self) -> int:
        """Number of items."""
        return len(self.ids)

    @cached_property
    def strictest(self) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        """Latest and earliest of each of `TIMES`, and greatest least age: what no item goes beyond."""
        latest_T = self.time_IT.max(axis=0, initial=BEGINNING).tolist()
        earliest_T = self.time_IT.min(axis=0, initial=END).tolist()
        return tuple(latest_T), tuple(earliest_T), int(self.age_I.max(initial=0))

    def codes(self, name: str) -> np.ndarray:
        """Codes of one of `TEXTS`, int32 [I]."""
        return self.code_IC[:, TEXTS.index(name)]

    def times(self, name: str) -> np.ndarray:
        """One of `TIMES`, int64 [I]."""
        return self.time_IT[:, TIMES.index(name)]

    def find(self, item: str) -> int:
        """Dense item of an own id; -1 if this snapshot has none."""
        at = self.index.get(item, -1)
        return at if at < len(self.ids) else -1

    def dense(self, item: str) -> int:
        """Dense item of an own id.

        Raises:
            UnknownIdError: there is no such item.
        """
        if (at := self.find(item)) < 0:
            raise UnknownIdError(f"there is no item {item!r} among {len(self):,}")
        return at

    def find_all(self, items: Iterable[str]) -> np.ndarray:
        """Dense items of those own ids that are known, int64 [n], in order."""
        found = (self.find(item) for item in items)
        return np.array([at for at in found if at >= 0], dtype=np.int64)

    def one(self, item: int) -> ItemFact:
        """Everything known of one dense item."""
        found = self._told.get(item)
        if found is None:
            found = self._told[item] = self._one(item)
        return found

    def _one(self, item: int) -> ItemFact:
        domain, category, author, owner = (
            self.words[name].value(code)
            for name, code in zip(TEXTS, self.code_IC[item].tolist(), strict=True)
        )
        published, rights_from, rights_until, embargo, expires = (
            None if time == none else time
            for time, none in zip(self.time_IT[item].tolist(), NO_TIME, strict=True)
        )
        return ItemFact(
            id=self.ids[item],
            title=self.titles[item],
            domain=domain,
            category=category,
            author=author,
            tags=tuple(self.tags.values[code] for code in self.tag.row(item)),
            least_age=int(self.age_I[item]),
            regions=tuple(sorted(self.region_sets.values[int(self.region_I[item])])),
            published_at=published,
            rights_from=rights_from,
            rights_until=rights_until,
            embargo_until=embargo,
            expires_at=expires,
            owner=owner,
        )

    def with_item(self, fact: ItemFact) -> ItemFacts:
        """See `with_items`."""
        return self.with_items([fact])

    def with_items(self, facts: Iterable[ItemFact]) -> ItemFacts:
        """The next snapshot: known items replaced, new ones behind the last; the last of equal ids holds.

        Copies the arrays once, whatever the number of items. One writer at a time.
        """
        latest = list({fact.id: fact for fact in facts}.values())
        new = [fact for fact in latest if self.find(fact.id) < 0]
        ids, titles, index = self.ids, list(self.titles), self.index
        if new:
            ids = [*self.ids, *(fact.id for fact in new)]
            index = {**self.index, **{f.id: len(self) + n for n, f in enumerate(new)}}
            titles += [None] * len(new)
        size = len(ids)
        row_n = np.array([index[fact.id] for fact in latest], dtype=np.int64)
        code_IC, time_IT = _grown(self.code_IC, size), _grown(self.time_IT, size)
        age_I, region_I = _grown(self.age_I, size), _grown(self.region_I, size)
        for row, fact in zip(row_n.tolist(), latest, strict=True):
            titles[row] = fact.title
            code_IC[row] = [self.words[name].add(getattr(fact, name)) for name in TEXTS]
            times = [getattr(fact, name) for name in TIMES]
            time_IT[row] = [n if t is None else t for t, n in zip(times, NO_TIME, strict=True)]
            age_I[row] = fact.least_age
            region_I[row] = self.region_sets.add(frozenset(fact.regions))
        tag_rows = [sorted({self.tags.add(tag) for tag in fact.tags}) for fact in latest]
        for array in (code_IC, time_IT, age_I, region_I):
            array.flags.writeable = False
        return replace(
            self,
            ids=ids,
            titles=titles,
            index=index,
            code_IC=code_IC,
            time_IT=time_IT,
            age_I=age_I,
            region_I=region_I,
            tag=self.tag.replaced(row_n, tag_rows, size),
            stamp=next(_stamps),
            changed=(self.stamp, row_n),
        )

    def names(self, item_n: np.ndarray | Sequence[int]) -> tuple[str, ...]:
        """Own ids of dense items."""
        return tuple(self.ids[int(item)] for item in item_n)


def _of_elsewhere(held: dict[str, Any]) -> ItemFacts:
    facts = ItemFacts(**{**held, "stamp": next(_stamps)})
    for array in (facts.code_IC, facts.time_IT, facts.age_I, facts.region_I):
        array.flags.writeable = False
    return facts


def _grown(array: np.ndarray, size: int) -> np.ndarray:
    grown = np.zeros((size, *array.shape[1:]), dtype=array.dtype)
    grown[: len(array)] = array
    return grown
