"""A run that is killed again and again ends with the state of a run that was left alone."""

import random
import signal
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest

from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.backends.stream_file import FileStream, FileStreamConfig

# argv: folder with events.parquet, folder of stream and state
RUN = """
import sys
from pathlib import Path
import numpy as np, polars as pl
from muma.app.features import World
from muma.app import streaming
from muma.app.streaming import Streaming, replay
from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.backends.stream_file import FileStream, FileStreamConfig
from muma.config import parse
from muma.events.event import EventLog
from muma.events.vocabulary import Vocabulary
from muma.features.catalogue import Catalogue
from muma.features.config import FeaturesConfig
from muma.features.followers import Followers
from muma.features.online.engine import Engine, EngineConfig
from muma.features.online.pump import Pump, PumpConfig
from muma.features.plan import Plan

streaming.as_stream = lambda log: log.events  # in the order of arrival, not of time
events, place = Path(sys.argv[1]), Path(sys.argv[2])
F = "muma.features.families."
plan = Plan(parse(FeaturesConfig, {
    "blocks": {
        "count": {"use": F + "count.Count", "keys": ["user", "item", "global"], "of": ["click", "play"],
                  "windows": ["1m/10s", "1h/10m", "decay/1h"]},
        "mean": {"use": F + "mean.Mean", "keys": ["user"], "of": ["play"], "windows": ["1h/10m"]},
        "distinct": {"use": F + "distinct.Distinct", "keys": ["item"], "what": "user", "windows": ["1h/10m"]},
        "session": {"use": F + "session.Session", "gap": "5m", "horizon": "1h"},
    },
    "sequences": {"recent": {"of": "click", "length": 10, "horizon": "1h"}},
}))
frame = pl.read_parquet(events / "events.parquet")
ids = [Vocabulary(pl.Series("id", range(frame[c].max() + 1), dtype=pl.Int64)) for c in ("user_id", "item_id")]
log = EventLog(frame.lazy(), *ids)
settings = FileStreamConfig(path=str(place / "stream"), partitions=3)
made = (place / "stream").is_dir() and any((place / "stream").iterdir())
stream = FileStream(settings) if made else FileStream.create(settings, user_ids=ids[0], item_ids=ids[1])
store = LmdbStore(LmdbConfig(path=str(place / "state")))
catalogue = Catalogue.empty(len(ids[1]))
engine = Engine(plan, catalogue=catalogue, store=store, config=EngineConfig(memory_mib=int(sys.argv[3])))
now = lambda: int(frame["timestamp"][-1])
pump = Pump(stream, engine, store, config=PumpConfig(most_at_once=30_000), clock=now)
streaming._history = lambda config: {}
streaming._write_history = lambda *_, **__: None
opened = Streaming(None, World(plan, log, catalogue, Followers.nobody()), stream, store, engine, pump)

def each(pulse):
    print(" ".join(str(end) for _, end in sorted(stream.ends().items())), flush=True)

replay(opened, each=each)
store.close()
stream.close()
print("done", flush=True)
"""


def write_events(folder, n, seed=5):
    """Clicks and plays of 20,000 users, up to 5 s out of order, one in twenty sent twice."""
    rng = np.random.default_rng(seed)
    start = 1_700_000_000_000_000
    sent = start + np.cumsum(rng.integers(1, 2 * 7_200_000_000 // n, n))
    frame = pl.DataFrame(
        {
            "event_id": np.arange(n, dtype=np.uint64) + 1,
            "user_id": rng.integers(0, 20_000, n).astype(np.uint32),
            "item_id": rng.zipf(1.5, n).clip(1, 3_000).astype(np.uint32) - 1,
            "domain": np.full(n, "video"),
            "kind": rng.choice(["click", "play"], n),
            "timestamp": sent - rng.integers(0, 5_000_000, n),
            "dwell_ms": rng.integers(0, 60_000, n).astype(np.int32),
        }
    )
    again = frame.gather(np.sort(np.r_[np.arange(n), rng.integers(0, n, n // 20)]))
    again.write_parquet(folder / "events.parquet")
    return again.height


def spawn(folder, place, memory):
    code = [sys.executable, "-c", RUN, str(folder), str(place), str(memory)]
    return subprocess.Popen(code, stdout=subprocess.PIPE, text=True)


def run_to_the_end(folder, place, memory):
    child = spawn(folder, place, memory)
    out, _ = child.communicate(timeout=600)
    assert child.returncode == 0
    assert out.splitlines()[-1] == "done"


def content(place):
    """Everything a store holds that does not depend on where commits fell."""
    store = LmdbStore(LmdbConfig(path=str(place / "state")))
    found = {}
    with store.snapshot() as snapshot:
        for table in snapshot.tables():
            for keys, records in snapshot.scan(table):
                found |= {(table, int(key)): records[n] for n, key in enumerate(keys)}
        found["offsets"] = snapshot.offsets()
        found["counters"] = snapshot.blob("counters")
        seen = {}
        for name, blob in snapshot.blobs("dedup/"):
            seen.setdefault(name.split("/")[1], []).append(np.frombuffer(blob, dtype=np.uint64))
        found["seen"] = {k: sorted(np.concatenate(v).tolist()) for k, v in seen.items()}
    store.close()
    return found


def killed_run(folder, place, *, kills, memory, seconds, seed):
    """Kill the run `kills` times; after each kill no acknowledged event may be missing."""
    draw = random.Random(seed)
    done = 0
    for _ in range(kills):
        child = spawn(folder, place, memory)
        first = child.stdout.readline()  # it has begun to append
        time.sleep(draw.uniform(0, seconds))
        child.send_signal(signal.SIGKILL)
        lines = [first, *child.stdout.read().splitlines()]
        child.wait()
        acknowledged = [line.split() for line in lines if line.strip() and "done" not in line]
        acknowledged = [parts for parts in acknowledged if len(parts) == 3][:-1] or acknowledged[:1]
        stream = FileStream(FileStreamConfig(path=str(place / "stream"), partitions=3))
        ends = stream.ends()
        stream.close()
        if acknowledged:
            last = [int(end) for end in acknowledged[-1]]
            assert all(ends[p] >= end for p, end in enumerate(last))
        done += 1
    assert done == kills


@pytest.mark.parametrize(
    ("n", "kills", "memory", "seconds"),
    [
        pytest.param(60_000, 3, 2_000, 0.3, id="3 kills of a short run"),
        pytest.param(
            2_000_000, 30, 2_000, 2.5, id="30 kills of 2 M events", marks=pytest.mark.slow
        ),
    ],
)
def test_kills_leave_no_trace(tmp_path, n, kills, memory, seconds):
    rows = write_events(tmp_path, n)
    for name in ("alone", "killed"):
        (tmp_path / name).mkdir()
    run_to_the_end(tmp_path, tmp_path / "alone", memory)
    killed_run(tmp_path, tmp_path / "killed", kills=kills, memory=memory, seconds=seconds, seed=n)
    run_to_the_end(tmp_path, tmp_path / "killed", memory)
    wanted, found = content(tmp_path / "alone"), content(tmp_path / "killed")
    assert sum(wanted["offsets"].values()) == rows
    assert len(wanted) > 1_000
    assert found == wanted


def test_little_memory_changes_nothing(tmp_path):
    write_events(tmp_path, 40_000)
    for name, memory in (("large", 2_000), ("small", 4)):
        (tmp_path / name).mkdir()
        run_to_the_end(tmp_path, tmp_path / name, memory)
    assert content(tmp_path / "small") == content(tmp_path / "large")
