"""Small random worlds that hit the edges of features: panes, gaps, half-lives, equal times, nulls.

A `World` is an event log with everything beside it (gaze, items, social edges) and the requests to
ask of it. `random_world` draws one from a seed; `world_strategies.py` lets hypothesis build one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from muma.config import build
from muma.events.event import (
    GAZE_COLUMNS,
    ITEM_COLUMNS,
    KINDS,
    SOCIAL_COLUMNS,
    EventLog,
)
from muma.features.config import FeaturesConfig
from muma.features.span import parse_span
from muma.features.window import AllTime, Decay, Gap, Sliding
from muma.rng import derive
from muma.testing.logs import SECOND, log_of

DAY = 86_400 * SECOND
ORIGIN = 19_700 * DAY
"""Where worlds begin: midnight, so that whole hours and days are edges of panes."""
USERS, ITEMS, AUTHORS, CATEGORIES = 4, 6, 3, 4
DOMAINS = ("video", "news", "ad")
TABS: tuple[str | None, ...] = ("0", "1", "2", None)
DWELLS: tuple[int | None, ...] = (None, None, 0, 1, 99, 100, 1_000, 12_345, 600_000, 2**31 - 1)
DURATIONS: tuple[int | None, ...] = (None, 0, 1, 1_000, 15_000, 600_000)
POSITIONS: tuple[int | None, ...] = (None, 0, 1, 2, 9, 100_000)
VALUES: tuple[float | None, ...] = (
    None, 0.0, 1.0, 4.5, -2.25, 0.0005, 0.0015, 0.0025, -0.0005, 1e6, 123.4567, float("nan"),
    float("inf"),
)  # fmt: skip
PLACES = (0.0, 0.2, 0.3, 0.5, 0.999, 1.0)  # on the screen, from the left and from the top
COMMON = ("click", "impression", "play", "click", "impression", "play", "like", "rating")


@dataclass(frozen=True)
class World:
    """A log and what to ask of it.

    Shape:
        user_B, item_B: int64 indices, -1 for none; at_B: int64 microseconds, ascending.
    """

    log: EventLog
    user_B: np.ndarray
    item_B: np.ndarray
    at_B: np.ndarray

    def moments(self, most: int) -> World:
        """The same requests, at no more than `most` distinct times, each moved to the next one."""
        distinct = np.unique(self.at_B)
        kept = distinct[:: -max(1, -(-len(distinct) // most))][::-1]
        return replace(self, at_B=kept[np.searchsorted(kept, self.at_B)])


def assemble(
    events: Sequence[Mapping[str, Any]],
    gaze: Sequence[Mapping[str, Any]],
    items: Sequence[Mapping[str, Any]],
    social: Sequence[Mapping[str, Any]],
    requests: Sequence[tuple[int, int, int]],
) -> World:
    """Put rows together.

    Args:
        events: rows with columns of `EVENT_COLUMNS` and `ctx_tab`.
        gaze: rows of the gaze table.
        items: rows of the items table; the first of an item counts.
        social: rows of the social table.
        requests: (user, item, at), -1 for no user or no item.
    """
    types = {"user_id": pl.UInt32, "item_id": pl.UInt32, "ctx_tab": pl.String, "value": pl.Float64}
    types |= dict.fromkeys(("timestamp", "dwell_ms", "item_duration_ms", "position"), pl.Int64)
    wide = pl.DataFrame(events, schema_overrides=types) if events else pl.DataFrame(schema=types)
    wide = wide.sort("timestamp", maintain_order=True)
    log = log_of(wide, n_users=USERS, n_items=ITEMS)
    tab = wide.get_column("ctx_tab")
    asked = np.array(sorted(requests, key=lambda row: row[2]), dtype=np.int64).reshape(-1, 3)
    return World(
        replace(
            log.with_events(log.events.with_columns(tab)),
            gaze=_table(gaze, GAZE_COLUMNS),
            items=_table(items, ITEM_COLUMNS),
            social=_table(social, SOCIAL_COLUMNS),
        ),
        asked[:, 0].copy(),
        asked[:, 1].copy(),
        asked[:, 2].copy(),
    )


def spans_of(config: FeaturesConfig) -> tuple[int, ...]:
    """Every length of time (microseconds) at which something changes, shortest first."""
    spans = {parse_span(config.lateness)}
    for name, spec in config.blocks.items():
        for feature in build(spec, where=name).features():
            for cell in feature.cells:
                window = cell.window
                if isinstance(window, Sliding):
                    spans |= {window.pane, window.length, window.length - window.pane}
                elif isinstance(window, Decay):
                    spans |= {window.half_life, window.half_life // 64, window.half_life * 63}
                elif isinstance(window, Gap):
                    spans |= {window.gap, window.horizon}
                elif isinstance(window, AllTime) and window.horizon is not None:
                    spans.add(window.horizon)
    horizons = [s.horizon for s in config.sequences.values() if s.horizon is not None]
    return tuple(sorted({*spans, *map(parse_span, horizons)} - {0}))


def random_world(
    seed: int, spans: Sequence[int], *, events: int = 60, requests: int = 30, hot: bool = False
) -> World:
    """Draw a world.

    Args:
        seed: equal seeds give equal worlds.
        spans: lengths of time at which something changes, see `spans_of`.
        events: how many; a quarter as many fixations come beside them.
        requests: about how many.
        hot: nearly everything is done by one user to one item, at few different times.

    Example:
        >>> random_world(1, [60_000_000]).log.n_users
        4
    """
    draw = _Draw(derive(seed, "random_world"), tuple(spans), hot)
    times = draw.times(events + events // 4)
    rows = [draw.event(int(at)) for at in np.sort(times[:events])]  # neighbours share a user
    rows += [dict(row) for row in rows[: events // 10]]  # equal events are two events
    fixations = [draw.fixation(int(at)) for at in times[events:]]
    asked = [(draw.someone(), draw.something(), at) for at in draw.moments(times, requests // 2)]
    items = [draw.item(times) for _ in range(ITEMS)]
    births = ((row["item_id"], row["published_at"]) for row in items)
    asked += [(draw.someone(), item, at) for item, at in births if at is not None and at >= 0]
    asked += [draw.echo(rows) for _ in range(requests // 2) if rows]
    return assemble(
        rows,
        fixations,
        items,
        [draw.edge(times) for _ in range(2 * USERS)],
        asked,
    )


@dataclass
class _Draw:
    rng: np.random.Generator
    spans: tuple[int, ...]
    hot: bool
    now_user: int = 0
    now_item: int = 0

    def one(self, choices: Sequence[Any] | np.ndarray) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def times(self, n: int) -> np.ndarray:
        """Mostly minutes apart; some equal, some a span apart give or take 1 us, some very old."""
        at, found = ORIGIN, []
        for _ in range(n):
            sort = self.rng.random()
            if sort < 0.45:
                at += int(self.rng.integers(1, self.one((60, 600)) * SECOND))
            elif sort < 0.65:
                at += min(self.one(self.spans), self.one(self.spans)) + self.one((-1, 0, 0, 1))
            elif sort < 0.75:
                span = self.one(self.spans)
                at += span - at % span - self.one((0, 1))  # the next edge of a pane, or just before
            found.append(at)
        times = np.array(found, dtype=np.int64).reshape(-1)
        old = self.rng.random(n) < 0.04
        times[old] = ORIGIN - self.rng.integers(0, 1_000 * DAY, size=int(old.sum()))
        return self.rng.permutation(times)

    def moments(self, times: np.ndarray, n: int) -> list[int]:
        """At events, just beside them, a span later, on edges, and long after everything."""
        found = []
        for _ in range(n):
            at = int(self.one(times)) if len(times) else ORIGIN
            if self.chance(0.5):
                at += self.one(self.spans)
            if self.chance(0.2):
                at -= at % self.one(self.spans)
            found.append(at + self.one((-1, 0, 0, 0, 1)) + (400 * DAY if self.chance(0.03) else 0))
        return found

    def echo(self, rows: Sequence[Mapping[str, Any]]) -> tuple[int, int, int]:
        """Who did something asks about it exactly a span later, having been quiet since."""
        user, item, at = 0, 0, ORIGIN
        for _ in range(20):
            row, span = self.one(rows), self.one(self.spans)
            user, item, at = row["user_id"], row["item_id"], row["timestamp"]
            pauses = [r["timestamp"] - at for r in rows if r["user_id"] == user]
            at += span
            if not any(0 < pause <= span for pause in pauses):
                break
        return user, -1 if item is None else item, at + self.one((0, 0, 1))

    def event(self, at: int) -> dict[str, Any]:
        if self.chance(0.5):
            self.now_user, self.now_item = self.one(range(USERS)), self.one(range(ITEMS))
        if self.hot and self.chance(0.9):
            self.now_user, self.now_item = 0, 0
        kind = "search" if self.chance(0.05) else self.one(COMMON)
        return {
            "user_id": self.now_user,
            "item_id": None if kind == "search" else self.now_item,
            "timestamp": at,
            "kind": self.one(KINDS) if self.chance(0.1) else kind,
            "domain": self.one(DOMAINS),
            "dwell_ms": self.one(DWELLS),
            "item_duration_ms": self.one(DURATIONS),
            "position": self.one(POSITIONS),
            "value": self.one(VALUES),
            "ctx_tab": self.one(TABS),
        }

    def fixation(self, at: int) -> dict[str, Any]:
        return {
            "user_id": self.one(range(USERS)),
            "item_id": self.one((None, None, *range(ITEMS))),
            "x": self.one(PLACES),
            "y": self.one(PLACES),
            "start": at,
            "duration_ms": self.one([dwell for dwell in DWELLS if dwell is not None]),
        }

    def item(self, times: np.ndarray) -> dict[str, Any]:
        near = int(self.one(times)) if len(times) else ORIGIN
        return {
            "item_id": self.one(range(ITEMS)),
            "domain": self.one(DOMAINS),
            "author": self.one((None, *(f"author {n}" for n in range(AUTHORS)))),
            "category": self.one((None, *(f"category {n}" for n in range(CATEGORIES)))),
            "published_at": self.one((None, -5, ORIGIN, near, near - self.one(self.spans))),
        }

    def edge(self, times: np.ndarray) -> dict[str, Any]:
        since = None if not len(times) or self.chance(0.4) else int(self.one(times))
        return {"src": self.one(range(USERS)), "dst": self.one(range(USERS)), "since": since}

    def someone(self) -> int:
        return 0 if self.hot and self.chance(0.7) else self.one((*range(USERS), -1, USERS + 3))

    def something(self) -> int:
        return 0 if self.hot and self.chance(0.7) else self.one((*range(ITEMS), -1, ITEMS + 2))


def _table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Any]) -> pl.LazyFrame:
    known = {name: [row.get(name) for row in rows] for name in columns}
    return pl.DataFrame(known, schema=dict(columns)).lazy()
