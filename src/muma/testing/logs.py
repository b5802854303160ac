"""Small event logs in memory, for tests and examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from muma.events.event import EVENT_COLUMNS, EventLog
from muma.events.vocabulary import Vocabulary
from muma.rng import derive

SECOND = 1_000_000  # microseconds


def log_of(
    events: pl.DataFrame | Mapping[str, Sequence[object]],
    *,
    n_users: int | None = None,
    n_items: int | None = None,
) -> EventLog:
    """Build a log from dense columns; the raw ids are the dense ones.

    Args:
        events: at least `user_id`, `item_id` and `timestamp` (microseconds), in any order of time;
            `kind` is click and `domain` is film unless given.
        n_users: users of the vocabulary; by default as many as appear.
        n_items: items of the vocabulary; by default as many as appear.

    Example:
        >>> log_of({"user_id": [0], "item_id": [4], "timestamp": [7]}).n_items
        5
    """
    frame = pl.DataFrame(events)
    defaults = {"kind": "click", "domain": "film"}
    columns = [
        (pl.col(name) if name in frame.columns else pl.lit(defaults.get(name)))
        .cast(dtype)
        .alias(name)
        for name, dtype in EVENT_COLUMNS.items()
    ]
    frame = frame.select(*columns).sort("timestamp", maintain_order=True)
    return EventLog(
        frame.lazy(), _vocabulary(frame["user_id"], n_users), _vocabulary(frame["item_id"], n_items)
    )


def tiny_log(
    histories: Mapping[int, Sequence[int]],
    *,
    n_users: int | None = None,
    n_items: int | None = None,
) -> EventLog:
    """Build a log of clicks from each user's items, oldest first, one second apart.

    Example:
        >>> tiny_log({0: [1, 2], 1: [2]}).events.collect().height
        3
    """
    rows = [(u, i, at * SECOND) for u, items in histories.items() for at, i in enumerate(items)]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    return log_of(frame, n_users=n_users, n_items=n_items)


def random_log(seed: int, n_users: int = 30, n_items: int = 20, n_events: int = 300) -> EventLog:
    """Build a log of clicks in which low item indices are the popular ones, all times distinct.

    Example:
        >>> random_log(1, n_users=3, n_items=4, n_events=5).n_items
        4
    """
    rng = derive(seed, "random_log")
    chance = 1.0 / np.arange(1, n_items + 1)
    frame = pl.DataFrame(
        {
            "user_id": rng.integers(n_users, size=n_events),
            "item_id": rng.choice(n_items, size=n_events, p=chance / chance.sum()),
            "timestamp": np.cumsum(rng.integers(1, 3600, size=n_events)) * SECOND,
        }
    )
    return log_of(frame, n_users=n_users, n_items=n_items)


def _vocabulary(index: pl.Series, size: int | None) -> Vocabulary:
    if size is None:
        highest = index.cast(pl.Int64).max()
        size = 0 if highest is None else int(highest) + 1  # pyright: ignore[reportArgumentType]
    return Vocabulary(pl.Series("id", range(size), dtype=pl.Int64))
