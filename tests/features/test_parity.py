"""Offline values as of past moments of the bundled log are the online ones of then, bit for bit."""

import numpy as np
import polars as pl
import pytest

from muma.app.config import read_recipe
from muma.app.ingestion import prepare
from muma.features.activity import as_stream
from muma.features.catalogue import Catalogue
from muma.features.followers import Followers
from muma.features.offline.as_of import as_of
from muma.features.online.engine import Engine, EngineConfig
from muma.features.plan import Plan


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize(
    ("recipe", "n", "memory"),
    [
        ("demo", 400, 4_000),
        pytest.param("kuairand", 10_000, 12_000, marks=pytest.mark.slow),
    ],
)
def test_online_equals_offline_on_real_events(home, tmp_path, recipe, n, memory, shuffled):
    config = read_recipe(home / "recipes" / f"{recipe}.toml")
    source = {"use": config.events.source.use, "path": str(home / "data" / "kuairand-pure")}
    section = config.events.model_copy(update={"source": type(config.events.source)(**source)})
    log = prepare(section, tmp_path / "log").log
    plan, rng = Plan(config.features), np.random.default_rng(n)
    events = as_stream(log).collect()
    time_N = events["timestamp"].to_numpy()
    place = np.sort(rng.integers(len(time_N) // 2, len(time_N), n))
    user_B, item_B = (events[c].to_numpy()[place].astype(np.int64) for c in ("user_id", "item_id"))
    item_B[::3] = rng.integers(0, log.n_items, len(item_B[::3]))
    at_B = time_N[place]
    rows = pl.DataFrame({"user_id": user_B, "item_id": item_B, "timestamp": at_B})
    offline = as_of(log, rows, plan)
    engine = Engine(
        plan, catalogue=Catalogue.of(log), followers=Followers.of(log),
        config=EngineConfig(memory_mib=memory),
    )  # fmt: skip
    done = 0
    for at in np.unique(at_B):
        cut = int(np.searchsorted(time_N, at))
        if cut > done:
            start = max(done - 50, 0) if shuffled else done  # a suffix is sent again
            part = events.slice(start, cut - start)
            if shuffled:
                fresh = part.slice(done - start)
                fresh = fresh[rng.permutation(fresh.height)] if done else fresh
                part = pl.concat([part.head(done - start), fresh])
            engine.apply(part, offset=start)
            done = cut
        asked = np.flatnonzero(at_B == at)
        found = engine.table(user_B[asked], item_B[asked], at_B[asked])
        wanted = offline.values_BF[asked]
        same = (found.values_BF.view(np.int64) == wanted.view(np.int64)) | (
            np.isnan(found.values_BF) & np.isnan(wanted)
        )
        assert same.all(), [plan.columns[c] for c in np.flatnonzero(~same.all(axis=0))[:10]]
        for name, mine in found.sequences.items():
            other = offline.sequences[name]
            assert (mine.item_BL == other.item_BL[asked]).all()
            assert (mine.time_BL == other.time_BL[asked]).all()
            assert (mine.dwell_BL == other.dwell_BL[asked]).all()
    # blocks between moments last hours: a shuffled one leaves the ring of an hour, and no value changes
    assert shuffled or engine.counters.late_dropped == 0
