"""What the templates are given: an answer's cards, a user's past, the rules in force."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from muma.serving.http.caller import Caller
from muma.serving.page.changes import Changes, Move
from muma.serving.page.poster import Poster, poster
from muma.serving.parts import Item
from muma.serving.recommending import Evidence, ServedItem

BARS = 4
"""Groups with a bar of their own; the others are added up."""
REST = "other"
WIDTH = 100.0


@dataclass(frozen=True)
class Bar:
    """A part of a score.

    Attributes:
        group: name of its features' group.
        part: log-odds.
        x: where the bar begins, from 0 to 100.
        width: its length.
    """

    group: str
    part: float
    x: float
    width: float


@dataclass(frozen=True)
class Card:
    """One slot as it is shown.

    Attributes:
        slot: from 1.
        one: what was served.
        domain: of the item, if known.
        poster: its picture.
        bars: parts of its score.
        axis: where 0 lies among the bars, from 0 to 100.
        support: candidates that could have stood here; None where nobody counted.
        move: where it stood before; None without a before.
    """

    slot: int
    one: ServedItem
    domain: str | None
    poster: Poster
    bars: tuple[Bar, ...]
    axis: float
    support: int | None
    move: Move | None


@dataclass(frozen=True)
class Past:
    """An event of the user.

    Attributes:
        item: its id.
        title: of the item, if it has one.
        category: likewise.
        kind: of the event.
        time: microseconds; None is unknown.
    """

    item: str
    title: str | None
    category: str | None
    kind: str | None
    time: int | None


@dataclass(frozen=True)
class Ruled:
    """A rule in force.

    Attributes:
        id: its id.
        kind: of rule.
        enabled: whether it has an effect.
        note: for people.
        settings: name -> value.
    """

    id: str
    kind: str
    enabled: bool
    note: str
    settings: Mapping[str, Any]


def cards(
    evidence: Evidence, items: Mapping[str, Item], changes: Changes | None
) -> tuple[Card, ...]:
    """An answer's slots; bars have one scale, so that cards can be compared."""
    served = evidence.answer.items
    parts = [_parts(one.groups) for one in served]
    axis, scale = _axis(part for row in parts for _, part in row)
    support = evidence.support_K.tolist()
    return tuple(
        Card(
            slot=k + 1,
            one=one,
            domain=items[one.item].domain if one.item in items else None,
            poster=poster(one.item, one.category),
            bars=tuple(_bar(group, part, axis, scale) for group, part in parts[k]),
            support=int(support[k]) if k < len(support) else None,
            axis=axis,
            move=None if changes is None else changes.moves[k],
        )
        for k, one in enumerate(served)
    )


def _parts(groups: Mapping[str, float]) -> list[tuple[str, float]]:
    """The largest parts, and the sum of the others."""
    ordered = sorted(groups.items(), key=lambda pair: -abs(pair[1]))
    if len(ordered) <= BARS + 1:
        return ordered
    return [*ordered[:BARS], (REST, sum(part for _, part in ordered[BARS:]))]


def _axis(parts: Iterable[float]) -> tuple[float, float]:
    """Where 0 lies between 0 and 100, and units a log-odd, so that every part has room.

    Example:
        >>> _axis([3.0, -1.0]), _axis([])
        ((25.0, 25.0), (50.0, 0.0))
    """
    low, high = 0.0, 0.0
    for part in parts:
        low, high = min(low, part), max(high, part)
    if high == low:
        return WIDTH / 2, 0.0
    return round(WIDTH * -low / (high - low), 1), WIDTH / (high - low)


def _bar(group: str, part: float, axis: float, scale: float) -> Bar:
    """A bar between 0 and 100.

    Example:
        >>> _bar("item", -0.5, 50.0, 50.0)
        Bar(group='item', part=-0.5, x=25.0, width=25.0)
    """
    width = round(scale * abs(part), 1)
    return Bar(group, part, round(axis - width, 1) if part < 0 else axis, width)


def past(known: Mapping[str, Any], items: Mapping[str, Item], most: int) -> tuple[Past, ...]:
    """A user's latest events, newest first."""
    found = []
    for row in rows(known)[:most]:
        item = items.get(name := str(row.get("item", "")))
        found.append(
            Past(
                item=name,
                title=None if item is None else item.title,
                category=None if item is None else item.category,
                kind=row.get("kind"),
                time=row.get("time"),
            )
        )
    return tuple(found)


def rows(known: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The events that an engine tells of a user, newest first."""
    history = known.get("history") or ()
    return [row for row in history if isinstance(row, Mapping)]


def rules(tables: Iterable[Mapping[str, Any]]) -> tuple[Ruled, ...]:
    """Rules as tables have them, without what is as always."""
    own = ("id", "kind", "use", "enabled", "note")
    return tuple(
        Ruled(
            id=str(table.get("id", "")),
            kind=str(table.get("kind") or table.get("use") or ""),
            enabled=bool(table.get("enabled", True)),
            note=str(table.get("note") or ""),
            settings={
                k: v for k, v in table.items() if k not in own and v not in (None, {}, [], ())
            },
        )
        for table in tables
    )


async def items_of(names: Iterable[str], caller: Caller) -> dict[str, Item]:
    """What the catalogue knows of some items."""
    part, wanted = caller.tenant.items, list(dict.fromkeys(names))
    if part is None or not wanted:
        return {}
    return {item.item_id: item for item in await caller.runtime.work(part.get, wanted)}
