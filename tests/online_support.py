"""Small plans, frames of events and engines for the tests of the online side."""

import numpy as np
import polars as pl

from muma.backends.state_memory import MemoryStore
from muma.config import parse
from muma.events.stream import STREAM_COLUMNS
from muma.features.catalogue import Catalogue
from muma.features.config import FeaturesConfig
from muma.features.online.engine import Engine, EngineConfig
from muma.features.plan import Plan

FAMILIES = "muma.features.families."
SECOND, MINUTE, HOUR, DAY = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
T0 = 19_700 * DAY  # a midnight; whole panes, epochs and half-lives of up to a day begin here
N_ITEMS = 12
CATALOGUE = Catalogue(
    np.arange(N_ITEMS) % 5,
    np.arange(N_ITEMS) % 3,
    np.zeros(N_ITEMS, np.int64),
    np.full(N_ITEMS, -1),
)


def plan_of(blocks, **section):
    """A plan of blocks, whose `use` is the path below `families`."""
    named = {name: {**spec, "use": FAMILIES + spec["use"]} for name, spec in blocks.items()}
    return Plan(parse(FeaturesConfig, {"blocks": named, **section}))


def counts(windows, *, keys=("user",), of=("click",), **section):
    """A plan that counts."""
    block = {"use": "count.Count", "keys": keys, "of": of, "windows": windows}
    return plan_of({"counts": block}, **section)


def every_state(lateness="10m"):
    """A plan with every kind of state and every operation, over four kinds of key."""
    user = ("user",)
    return plan_of(
        {
            "counts": {
                "use": "count.Count",
                "keys": ("user", "item", "user x category", "global"),
                "of": ("click", "play"),
                "windows": ("1h/10m", "1d/1h", "decay/1h"),
            },
            "mean": {"use": "mean.Mean", "keys": user, "of": ("play",), "windows": ("all",)},
            "ends": {"use": "extremes.MinMax", "keys": user, "of": ("play",), "windows": ("1h/10m", "all")},
            "ids": {"use": "distinct.Distinct", "keys": user, "registers": 16, "windows": ("1d/1h", "all")},
            "top": {"use": "topk.TopK", "keys": user, "buckets": 4, "windows": ("1d/1h", "decay/1h")},
            "last": {"use": "recency.Recency", "keys": ("user", "item"), "windows": ("all/2h",)},
            "visit": {"use": "session.Session", "gap": "5m", "horizon": "1h"},
        },
        sequences={
            "all": {"of": "any", "length": 6},
            "recent": {"of": "click", "length": 4, "horizon": "1h"},
        },
        lateness=lateness,
    )  # fmt: skip


def clicks(times, *, user=0, item=0, kind="click", **columns):
    """Events at `times` (microseconds after `T0`); each column a value or one value a row."""
    n = len(times)
    made = {
        "user_id": user,
        "item_id": item,
        "kind": kind,
        "domain": "video",
        "timestamp": [T0 + int(time) for time in times],
        **columns,
    }
    spread = {
        name: values if isinstance(values, list | np.ndarray) else [values] * n
        for name, values in made.items()
    }
    return pl.DataFrame(
        [pl.Series(name, values).cast(STREAM_COLUMNS[name]) for name, values in spread.items()]
    )


def random_events(seed, n, *, users=6, span=3 * HOUR, lateness=10 * MINUTE):
    """Events whose arrival is at most `lateness` out of order; equal times happen."""
    rng = np.random.default_rng(seed)
    time = np.sort(rng.integers(0, span, n)) // MINUTE * MINUTE
    time = np.where(rng.random(n) < 0.3, time, time + rng.integers(0, MINUTE, n))
    frame = clicks(
        time,
        user=rng.integers(0, users, n),
        item=rng.integers(0, N_ITEMS, n),
        kind=rng.choice(["click", "play", "impression"], n),
        dwell_ms=rng.integers(0, 50_000, n),
        event_id=np.arange(1, n + 1),
    )
    return frame[np.argsort(time + rng.integers(0, lateness, n), kind="stable")]


def engine_of(plan, store=None, **config):
    """An engine over the small catalogue."""
    return Engine(plan, catalogue=CATALOGUE, store=store, config=EngineConfig(**config))


def read(engine, column, *, at, user=0, item=0):
    """One value at `at` microseconds after `T0`."""
    return engine.lookup(user, np.array([item]), T0 + int(at)).column(column)[0]


def records(store):
    """Every record of a store by table and key."""
    found = {}
    with store.snapshot() as view:
        for table in view.tables():
            for keys, held in view.scan(table):
                found |= {(table, int(key)): held[n] for n, key in enumerate(keys)}
    return found


def committed(plan, pieces, **config):
    """Apply each piece, commit after each, expire at the end; returns engine and store."""
    store = MemoryStore()
    engine = engine_of(plan, store, **config)
    for piece in pieces:
        engine.apply(piece)
        engine.commit()
    engine.expire()
    engine.commit()
    return engine, store


def assert_same(found, wanted):
    """Two feature tables are equal bit for bit."""
    assert found.columns == wanted.columns
    np.testing.assert_array_equal(found.values_BF, wanted.values_BF)
    for name, one in wanted.sequences.items():
        for field in ("item_BL", "time_BL", "kind_BL", "domain_BL", "dwell_BL", "mask_BL"):
            np.testing.assert_array_equal(
                getattr(found.sequences[name], field), getattr(one, field)
            )
