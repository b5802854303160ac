"""The features of the bundled recipe on real events: by definition, offline and online."""

import tomllib

import numpy as np
import polars as pl
import pytest

from muma.backends.state_memory import MemoryStore
from muma.config import parse
from muma.events.ingest import ingest
from muma.events.log_folder import open_log
from muma.events.sources.kuairand import KuaiRandConfig, KuaiRandPure
from muma.features.catalogue import Catalogue
from muma.features.config import FeaturesConfig
from muma.features.followers import Followers
from muma.features.offline.as_of import as_of
from muma.features.online.engine import Engine, EngineConfig
from muma.features.plan import Plan
from muma.rng import derive
from muma.testing.arrivals import Feed, groups
from muma.testing.feature_parity import assert_same_tables, expect, joined
from muma.testing.worlds import World

MEMORY = 40  # MiB


@pytest.fixture(scope="session")
def real_log(home, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kuairand") / "log"
    ingest(KuaiRandPure(KuaiRandConfig(path=str(home / "data" / "kuairand-pure"))), folder)
    return open_log(folder)


@pytest.fixture(scope="session")
def config(home):
    recipe = tomllib.loads((home / "recipes" / "kuairand.toml").read_text())
    return parse(FeaturesConfig, recipe["features"])


def some_users(log, every):
    """The log of one user in `every`: as real, and small enough for plain Python."""
    return log.where(pl.col("user_id") % every == 3)


def asked_of(log, n, rng):
    """Requests at events of the last half; two in three about the item of the event."""
    events = log.events.select("user_id", "item_id", "timestamp").collect()
    place = np.sort(rng.integers(events.height // 2, events.height, n))
    user, item, at = (events[name].to_numpy()[place].astype(np.int64) for name in events.columns)
    item = np.where(rng.random(n) < 1 / 3, rng.integers(0, log.n_items, n), item)
    return World(log, user, item, at)


def offline(world, plan):
    rows = {"user_id": world.user_B, "item_id": world.item_B, "timestamp": world.at_B}
    return as_of(world.log, pl.DataFrame(rows), plan)


@pytest.mark.parametrize(
    ("every", "rows"), [(200, 60), pytest.param(20, 300, marks=pytest.mark.slow)]
)
def test_offline_is_what_the_definitions_say(real_log, config, every, rows):
    world = asked_of(some_users(real_log, every), rows, derive(rows, "asked"))
    found = offline(world, Plan(config))
    assert np.mean(np.isfinite(found.values_BF)) > 0.5  # a world with something in it
    wanted = expect(config, world.log, world.user_B, world.item_B, world.at_B)
    assert set(wanted.columns) == set(found.columns)
    assert_same_tables(found, wanted)


@pytest.mark.parametrize(
    ("every", "rows"), [(60, 1_000), pytest.param(20, 10_000, marks=pytest.mark.slow)]
)
def test_online_is_offline_when_events_come_late_and_again(real_log, config, every, rows):
    plan, rng = Plan(config), derive(rows, "late")
    world = asked_of(some_users(real_log, every), rows, rng).moments(25)
    feed = Feed.of(
        world.log, rng, partitions=3, again=0.5, twice=0.5, together=0.3, horizon=plan.lateness
    )
    engine = Engine(plan, catalogue=Catalogue.of(world.log), followers=Followers.of(world.log))
    found, before = [], 0
    for at, places in groups(world.at_B):
        feed.send(engine, feed.rows(before, at, lateness=plan.lateness))
        before = at
        found.append(engine.table(world.user_B[places], world.item_B[places], world.at_B[places]))
    assert engine.counters.repeated_offsets > 0
    assert engine.counters.repeated_ids > 0
    assert engine.counters.unchecked == engine.counters.quarantined == 0
    assert_same_tables(joined(found), offline(world, plan))


def test_online_is_offline_when_most_state_waits_in_the_store(real_log, config):
    """Rows leave memory and come back, again and again."""
    plan, rng, store = Plan(config), derive(1, "little memory"), MemoryStore()
    world = asked_of(some_users(real_log, 60), 300, rng).moments(10)
    feed = Feed.of(world.log, rng)
    engine = Engine(
        plan,
        catalogue=Catalogue.of(world.log),
        followers=Followers.of(world.log),
        store=store,
        config=EngineConfig(memory_mib=MEMORY),
    )
    found, before = [], 0
    for at, places in groups(world.at_B):
        feed.send(engine, feed.rows(before, at, lateness=plan.lateness))
        before = at
        found.append(engine.table(world.user_B[places], world.item_B[places], world.at_B[places]))
        assert engine.resident_bytes <= MEMORY << 20
    engine.commit()
    with store.snapshot() as view:
        rows = {kind.name: view.count(kind.name) for kind in plan.kinds}
    assert sum(8 * kind.width * rows[kind.name] for kind in plan.kinds) > 2 * MEMORY << 20
    assert_same_tables(joined(found), offline(world, plan))
