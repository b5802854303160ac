"""A small log with every kind of source, for tests and examples of fusion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from muma.events.event import Domain, EventLog
from muma.rng import derive
from muma.testing.logs import SECOND, log_of

WORDS = ("rock", "metal", "jazz", "piano", "indie", "folk", "dance", "electronic")


def media_log(seed: int = 1, *, n_users: int = 24, n_items: int = 16) -> EventLog:
    """Plays with dwell, tags, texts, vectors, friends and fixations; some of each are missing.

    Item 3 has no metadata, user 2 no friend; the last item and the last user have nothing at all.

    Example:
        >>> media_log().social.collect().height > 0
        True
    """
    rng = derive(seed, "media_log")
    plays = 12 * n_users
    duration_I = rng.integers(10, 300, size=n_items) * 1000
    item_P = rng.integers(n_items - 1, size=plays)
    events = pl.DataFrame(
        {
            "user_id": rng.integers(n_users - 1, size=plays),
            "item_id": item_P,
            "timestamp": np.arange(plays) * SECOND,
            "kind": ["play"] * plays,
            "dwell_ms": (duration_I[item_P] * rng.random(plays)).astype(np.int64),
            "item_duration_ms": duration_I[item_P],
            "value": rng.integers(1, 50, size=plays).astype(float),
        }
    )
    log = log_of(events, n_users=n_users, n_items=n_items)
    return replace(log, items=_items(rng, n_items), social=_social(rng, n_users),
                   gaze=_gaze(rng, n_users, n_items))  # fmt: skip


def _items(rng: np.random.Generator, n_items: int) -> pl.LazyFrame:
    kept = [i for i in range(n_items - 1) if i != 3]
    return pl.LazyFrame(
        {
            "item_id": kept,
            "domain": ["music"] * len(kept),
            "title": [f"{WORDS[i % 8]} number {i}" for i in kept],
            "tags": [[WORDS[i % 8], WORDS[(i + 1) % 8]] for i in kept],
            "category": [WORDS[i % 4] if i % 5 else None for i in kept],
            "author": [f"author {i % 6}" for i in kept],
            "attr_vector": rng.normal(size=(len(kept), 6)).tolist(),
        },
        schema_overrides={"item_id": pl.UInt32, "domain": Domain},
    )


def _social(rng: np.random.Generator, n_users: int) -> pl.LazyFrame:
    ends = rng.integers(n_users - 1, size=(3 * n_users, 2))
    ends = ends[(ends != 2).all(axis=1)]
    return pl.LazyFrame(
        {"src": ends[:, 0], "dst": ends[:, 1], "relation": ["friend"] * len(ends)},
        schema_overrides={"src": pl.UInt32, "dst": pl.UInt32},
    )


def _gaze(rng: np.random.Generator, n_users: int, n_items: int) -> pl.LazyFrame:
    rows = 4 * n_items
    return pl.LazyFrame(
        {
            "user_id": rng.integers(n_users - 1, size=rows),
            "item_id": rng.integers(n_items - 1, size=rows),
            "x": rng.random(rows),
            "y": rng.random(rows),
            "start": np.arange(rows) * SECOND,
            "duration_ms": rng.integers(50, 900, size=rows),
        },
        schema_overrides={"user_id": pl.UInt32, "item_id": pl.UInt32, "duration_ms": pl.Int32},
    )
