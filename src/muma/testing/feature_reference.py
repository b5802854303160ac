"""Features by brute force: plain Python over raw events, written from the definitions alone.

Slow and simple on purpose. It shares no code with the engines: filters, keys, windows and measures
are worked out anew for each request, with whole numbers of any size, so that what both engines say
can be compared with it bit for bit. `feature_formulas.py` turns what an `Ask` finds into columns.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import repeat
from operator import attrgetter
from typing import Any, NamedTuple

import polars as pl

from muma.events.event import DOMAINS, KINDS, EventLog
from muma.events.stream import ACTIONS, FIXATION
from muma.features.where import Where
from muma.features.window import AllTime, Decay, Gap, Sliding, Window

NAN = math.nan
MICROSECONDS = 1e6
STEPS = 64
WEIGHTS = [round(4096 * 2 ** (step / STEPS)) for step in range(STEPS)]
HIGHEST = {"dwell_ms": 2**31, "completion": 1000, "position": 2**31, "value": 2**52, "time": 2**52}
SIZE = {"completion": 0.001, "value": 0.001}


class Event(NamedTuple):
    """One raw event; None is what it lacks."""

    time: int
    user: int | None
    item: int | None
    kind: str
    domain: str
    dwell_ms: int | None = None
    duration_ms: int | None = None
    position: int | None = None
    value: float | None = None
    x: float | None = None
    y: float | None = None
    context: Mapping[str, Any] = {}


class Item(NamedTuple):
    """What the catalogue knows: codes of author and category, name of the domain, microseconds."""

    author: int | None
    category: int | None
    domain: str | None
    published: int | None


class History(NamedTuple):
    """Events of one key in order of time."""

    times: list[int]
    events: list[Event]


@dataclass
class RawWorld:
    """Everything that happened, as lists and dicts.

    Attributes:
        events: events and fixations in order of time.
        items: by item index.
        follows: follower -> whom -> time from which it counts (minus infinity without one).
    """

    events: list[Event]
    items: dict[int, Item]
    follows: dict[int, dict[int, float]]
    _by_key: dict[tuple[str, ...], dict[tuple[Any, ...], list[Event]]] = field(default_factory=dict)
    _filtered: dict[tuple[Any, ...], History] = field(default_factory=dict)

    @classmethod
    def of(cls, log: EventLog) -> RawWorld:
        """Read a log's tables."""
        found = [*_events(log.events), *_fixations(log.gaze)]
        return cls(sorted(found, key=attrgetter("time")), _items(log.items), _follows(log.social))

    def attribute(self, item: int | None, name: str) -> Any:
        """Author, category, domain or published of an item; None where it is unknown."""
        known = self.items.get(-1 if item is None else item)
        return None if known is None else getattr(known, name)

    def history(self, parts: tuple[str, ...], key: tuple[Any, ...], where: Where) -> History:
        """Events of a key that pass a filter."""
        signature = (parts, key, where.model_dump_json())
        if signature not in self._filtered:
            chosen = [event for event in self._of_key(parts, key) if passes(event, where)]
            self._filtered[signature] = History([event.time for event in chosen], chosen)
        return self._filtered[signature]

    def _of_key(self, parts: tuple[str, ...], key: tuple[Any, ...]) -> Iterable[Event]:
        if parts[0] == "friends":
            follower, rest = key[0], key[1:]
            streams = [
                [e for e in self._of_key(("user", *parts[1:]), (whom, *rest)) if e.time >= since]
                for whom, since in self.follows.get(follower, {}).items()
            ]
            return merge(*streams, key=attrgetter("time"))
        if parts not in self._by_key:
            index: dict[tuple[Any, ...], list[Event]] = {}
            for event in self.events:
                own = tuple(self._part(event, part) for part in parts)
                if None not in own:
                    index.setdefault(own, []).append(event)
            self._by_key[parts] = index
        return self._by_key[parts].get(key, [])

    def _part(self, event: Event, part: str) -> Any:
        if part in ("author", "category"):
            return self.attribute(event.item, part)
        return 0 if part == "global" else getattr(event, part)


@dataclass(frozen=True)
class Ask:
    """One request, and what it may look at: events before its moment, never the moment itself.

    Attributes:
        world: what happened.
        filters: the recipe's own filters; the built-in ones need not be named.
        user, item: who asks about what; None without.
        at: microseconds.
    """

    world: RawWorld
    filters: Mapping[str, Where]
    user: int | None
    item: int | None
    at: int

    def key(self, kind: str) -> tuple[Any, ...] | None:
        """The request's key of a kind such as `"user x category"`; None when it has none."""
        own = {"user": self.user, "friends": self.user, "item": self.item, "global": 0}
        found = tuple(
            own[part] if part in own else self.world.attribute(self.item, part)
            for part in kind.split(" x ")
        )
        return None if None in found else found

    def events(self, kind: str, window: Window, of: str) -> list[Event]:
        """Events in the window, in order of time; empty when the request has no such key."""
        if isinstance(window, Gap):
            session = self._session(kind, window)
            return [event for event in session if passes(event, self.where(of))]
        first = -math.inf
        if isinstance(window, Sliding):
            first = self.at // window.pane * window.pane - window.length + window.pane
        elif isinstance(window, AllTime) and window.horizon is not None:
            first = self.at - window.horizon
        return self.between(kind, of, first)

    def between(self, kind: str, of: str, first: float = -math.inf) -> list[Event]:
        """Events of the request's key with `first <= time < at`."""
        key = self.key(kind)
        if key is None:
            return []
        history = self.world.history(tuple(kind.split(" x ")), key, self.where(of))
        times = history.times
        return history.events[bisect_left(times, first) : bisect_left(times, self.at)]

    def where(self, of: str) -> Where:
        """A filter by name: the recipe's own, `any`, or a kind of event."""
        if of in self.filters:
            return self.filters[of]
        return Where() if of == "any" else Where(kinds=(of,))

    def total(
        self,
        kind: str,
        window: Window,
        of: str,
        measure: str = "one",
        unit: int = 1,
        power: int = 1,
    ) -> float:
        """Sum of a measure, in units; NaN when the request has no such key."""
        pairs = [
            (event.time, value)
            for event in self.events(kind, window, of)
            if (value := measured(event, measure, unit, power)) is not None
        ]
        return NAN if self.key(kind) is None else self.weighed(pairs, window)

    def many(self, kind: str, window: Window, of: str, measure: str) -> float:
        """How many events have a measure; NaN when the request has no such key."""
        pairs = [
            (event.time, 1)
            for event in self.events(kind, window, of)
            if measured(event, measure) is not None
        ]
        return NAN if self.key(kind) is None else self.weighed(pairs, window)

    def weighed(self, pairs: Sequence[tuple[int, int]], window: Window) -> float:
        """Sum of (time, whole number) pairs: floor(sum of V_k / 2^(k(at) - k)) / weight under decay."""
        if not isinstance(window, Decay):
            return float(sum(number for _, number in pairs))
        life = window.half_life
        if not pairs:
            return 0.0
        first = min(time for time, _ in pairs) // life
        scaled = sum(
            number * WEIGHTS[time % life * STEPS // life] << (time // life - first)
            for time, number in pairs
        )
        return float(scaled >> (self.at // life - first)) / WEIGHTS[self.at % life * STEPS // life]

    def extreme(
        self,
        which: Callable[[Iterable[int]], int],
        kind: str,
        window: Window,
        of: str,
        measure: str,
        unit: int = 1,
    ) -> float:
        """`min` or `max` of a measure, in units; NaN without one."""
        found = [measured(event, measure, unit) for event in self.events(kind, window, of)]
        known = [value for value in found if value is not None]
        return float(which(known)) if known else NAN

    def ids(self, kind: str, window: Window, of: str, what: str) -> list[tuple[int, int]]:
        """(time, id) of the events that have an id: user, item, author or category."""
        found = [
            (event.time, self.world.attribute(event.item, what))
            if what in ("author", "category")
            else (event.time, getattr(event, what))
            for event in self.events(kind, window, of)
        ]
        return [(time, number) for time, number in found if number is not None]

    def sequence(
        self, kind: str, of: str, length: int, horizon: int | None
    ) -> list[tuple[int, int, int, int, int]]:
        """(item, time, kind, domain, dwell) of the last events, oldest first; -1 for what is lacking."""
        first = -math.inf if horizon is None else self.at - horizon
        rows = [
            (
                event.time,
                -1 if event.item is None else event.item,
                ACTIONS.index(event.kind),
                DOMAINS.index(event.domain),
                -1 if event.dwell_ms is None else event.dwell_ms,
            )
            for event in self.between(kind, of, first)
        ]
        return [(row[1], row[0], *row[2:]) for row in sorted(rows)[-length:]]

    def _session(self, kind: str, window: Gap) -> list[Event]:
        sessions: list[list[Event]] = []
        for event in self.between(kind, window.member):
            if sessions and event.time - sessions[-1][-1].time <= window.gap:
                sessions[-1].append(event)
            else:
                sessions.append([event])
        is_open = bool(sessions) and self.at - sessions[-1][-1].time <= window.gap
        if window.which == "open":
            found = sessions[-1] if is_open else []
        else:
            closed = sessions[:-1] if is_open else sessions
            found = closed[-1] if closed else []
        return found if found and self.at - found[-1].time <= window.horizon else []


def passes(event: Event, where: Where) -> bool:
    """Whether an event passes a filter."""
    if event.kind not in (where.kinds or KINDS):
        return False
    if where.domains and event.domain not in where.domains:
        return False
    for column, allowed in where.context.items():
        value = event.context.get(column)
        if value is None or _text(value) not in [_text(one) for one in allowed]:
            return False
    if where.area is None:
        return True
    if event.x is None or event.y is None:
        return False
    x0, y0, x1, y1 = where.area
    return x0 <= event.x < x1 and y0 <= event.y < y1


def measured(event: Event, measure: str, unit: int = 1, power: int = 1) -> int | None:
    """A measure of an event in whole units, rounded down; None when the event lacks it."""
    if measure == "one":
        return 1
    base: int | None = None
    if measure == "completion":
        if event.dwell_ms is not None and event.duration_ms:
            base = event.dwell_ms * 1000 // event.duration_ms
    elif measure == "value":
        if event.value is not None and math.isfinite(event.value):
            base = round(event.value * 1000.0)
    else:
        base = getattr(event, measure)
    if base is None:
        return None
    lowest = -HIGHEST["value"] if measure == "value" else 0
    return (min(max(base, lowest), HIGHEST[measure]) // unit) ** power


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _events(frame: pl.LazyFrame) -> Iterable[Event]:
    table = frame.collect()
    own = [name for name in table.columns if name.startswith("ctx_")]
    columns = ("timestamp", "user_id", "item_id", "kind", "domain", "dwell_ms", "item_duration_ms")
    plain = table.select(*columns, "position", "value").iter_rows()
    contexts: dict[tuple[Any, ...], dict[str, Any]] = {}
    owned = table.select(own).iter_rows() if own else repeat((), table.height)
    for row, values in zip(plain, owned, strict=True):
        context = contexts.setdefault(values, dict(zip(own, values, strict=True)))
        yield Event(*row, context=context)


def _fixations(frame: pl.LazyFrame) -> Iterable[Event]:
    columns = ("start", "user_id", "item_id", "duration_ms", "x", "y")
    for start, user, item, dwell, x, y in frame.select(columns).collect().iter_rows():
        yield Event(start, user, item, FIXATION, "other", dwell, x=x, y=y)


def _items(frame: pl.LazyFrame) -> dict[int, Item]:
    columns = ("item_id", "author", "category", "domain", "published_at")
    found: dict[int, Item] = {}
    authors: dict[str, int] = {}
    categories: dict[str, int] = {}
    for item, author, category, domain, published in frame.select(columns).collect().iter_rows():
        if item is not None and item not in found:
            found[item] = Item(
                None if author is None else authors.setdefault(author, len(authors)),
                None if category is None else categories.setdefault(category, len(categories)),
                domain,
                None if published is None or published < 0 else published,
            )
    return found


def _follows(frame: pl.LazyFrame) -> dict[int, dict[int, float]]:
    found: dict[int, dict[int, float]] = {}
    for src, dst, since in frame.select("src", "dst", "since").collect().iter_rows():
        if src != dst:
            whom = found.setdefault(src, {})
            whom[dst] = min(whom.get(dst, math.inf), -math.inf if since is None else since)
    return found
