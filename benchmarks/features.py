"""The online engine on the demo's feature set: speed, freshness, reads, size, and exactness.

    python benchmarks/features.py --quick --json
    python benchmarks/features.py            # 1 million users; what `make bench` does

One run, in the order of the keys:

1. engine alone: events of 1 M users in batches of 100,000, rows in memory; first while most of them
   bring new keys (`new_keys`: rows are made), then the same users and pairs twenty minutes later;
2. durable end to end: the same kind of events appended to the stream (on disk when acknowledged),
   read back, applied and committed to LMDB with their offsets;
3. at 10,000 events/s, writing at the lower priority of `muma stream`: from the append's begin to a reader process seeing the commit;
4. reads by that process while the writer goes on: one user with 200 candidates, in turns all 67
   columns with the sequence and the 50 of four kinds of key and three windows that a ranker might
   ask for; and one user with 242 features of their own;
5. memory and disk of a million users at the feature set of Metarank's RankLens configuration;
6. the window job of window_job.py against bytewax, Quix and Flink SQL on the same events;
7. exactness: offline values as of 2,000 moments against the engine's, bit for bit.
"""

from __future__ import annotations

import json
import multiprocessing as mp
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl

import common
import window_job
from muma.app.config import StreamSection, read_recipe
from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.backends.stream_file import FileStream, FileStreamConfig
from muma.config import parse
from muma.events.event import EventLog
from muma.events.vocabulary import Vocabulary
from muma.features.catalogue import Catalogue
from muma.features.config import FeaturesConfig
from muma.features.offline.as_of import as_of
from muma.features.online.engine import Engine, EngineConfig
from muma.features.online.pump import Pump, PumpConfig
from muma.features.online.reader import FeatureReader
from muma.features.plan import Plan

HERE = Path(__file__).parent
NICE = StreamSection().nice
WARM = 1.0  # seconds of each live part that are not counted: the writer loads its kernels
START = 1_767_225_600_000_000
KINDS = ("impression", "play", "click", "long_view")
ITEMS, CATEGORIES, AUTHORS = 100_000, 60, 20_000
SOME = 50  # the counts, rates and means of the demo's features; the first ones
FAMILIES = "muma.features.families."
RANKLENS = {
    "lateness": "5m",
    "ahead": "1m",
    "blocks": {
        "ctr": {
            "use": FAMILIES + "rate.Rate", "keys": ["item"], "windows": ["7d/1d", "30d/1d"],
        },
    },
    "sequences": {"liked": {"of": "click", "length": 10, "horizon": "1d"}},
}  # fmt: skip
OWN = {
    "blocks": {
        "count": {
            "use": FAMILIES + "count.Count", "keys": ["user"],
            "of": ["impression", "play", "click", "long_view", "like", "share", "comment", "follow", "hide", "any"],
            "windows": ["1h/10m", "3h/1h", "6h/1h", "12h/1h", "1d/1h", "2d/1d", "3d/1d", "7d/1d", "14d/1d", "decay/1d", "decay/7d", "decay/30d"],
        },
        "rate": {
            "use": FAMILIES + "rate.Rate", "keys": ["user"],
            "pairs": [["click", "impression"], ["long_view", "impression"], ["like", "impression"], ["hide", "impression"]],
            "windows": ["6h/1h", "12h/1h", "1d/1h", "2d/1d", "3d/1d", "7d/1d", "14d/1d", "decay/1d", "decay/7d", "decay/30d"],
        },
        "dwell": {
            "use": FAMILIES + "mean.Mean", "keys": ["user"], "of": ["play", "long_view"],
            "windows": ["1h/10m", "6h/1h", "1d/1h", "3d/1d", "7d/1d", "14d/1d", "decay/7d"],
        },
        "spread": {
            "use": FAMILIES + "spread.StdDev", "keys": ["user"], "of": ["play", "long_view"],
            "windows": ["6h/1h", "1d/1h", "3d/1d", "7d/1d"],
        },
        "extremes": {
            "use": FAMILIES + "extremes.MinMax", "keys": ["user"], "of": ["play", "long_view"],
            "windows": ["6h/1h", "1d/1h", "7d/1d"],
        },
        "last": {"use": FAMILIES + "recency.Recency", "keys": ["user"], "of": ["play", "click", "like", "share"]},
        "different": {"use": FAMILIES + "distinct.Distinct", "keys": ["user"], "what": "author", "windows": ["7d/1d", "14d/1d"]},
        "top": {"use": FAMILIES + "topk.TopK", "keys": ["user"], "of": ["click", "play"], "windows": ["7d/1d", "14d/1d"]},
        "session": {"use": FAMILIES + "session.Session", "counts": ["click", "like", "share"]},
    },
}  # fmt: skip


def catalogue() -> Catalogue:
    """100,000 items of 60 categories and 20,000 authors."""
    rng = np.random.default_rng(1)
    category = np.minimum(rng.zipf(1.3, ITEMS) - 1, CATEGORIES - 1)
    author = rng.integers(0, AUTHORS, ITEMS)
    published = START - rng.integers(0, 30 * 86_400_000_000, ITEMS)
    return Catalogue(author, category, np.full(ITEMS, 1), published)


def events(n: int, users: int, *, seed: int, start: int, per_second: float) -> pl.DataFrame:
    """Impressions, clicks, plays and long views; users even, items skewed; up to 5 s out of order."""
    rng = np.random.default_rng(seed)
    time_N = start + (np.arange(n) * (1e6 / per_second)).astype(np.int64)
    return pl.DataFrame(
        {
            "user_id": rng.integers(0, users, n).astype(np.uint32),
            "item_id": ((ITEMS * rng.random(n) ** 3).astype(np.int64) * 7919 % ITEMS).astype(
                np.uint32
            ),
            "domain": pl.Series(["video"]).new_from_index(0, n),
            "kind": rng.choice(KINDS, n, p=[0.5, 0.25, 0.15, 0.1]),
            "timestamp": time_N - rng.integers(0, 5_000_000, n),
            "dwell_ms": rng.integers(0, 120_000, n).astype(np.int32),
        }
    ).cast({"kind": pl.Enum(KINDS)})


def demo_plan() -> Plan:
    """The demo's feature set."""
    return Plan(read_recipe(HERE.parent / "recipes" / "demo.toml").features)


def engine_alone(plan: Plan, items: Catalogue, n: int, users: int) -> dict[str, float]:
    """Batches of 100,000, everything from the frame to the rows."""
    engine = Engine(plan, catalogue=items, config=EngineConfig(memory_mib=14_000))
    batches = [
        events(100_000, users, seed=i, start=START + i * 20_000_000, per_second=5_000)
        for i in range(max(n // 100_000, 4))
    ]
    engine.apply(batches[0])  # compiled or loaded before the clock starts
    began = time.perf_counter()
    for batch in batches[1:]:
        engine.apply(batch)
    fresh = time.perf_counter() - began
    later = [b.with_columns(pl.col("timestamp") + 1_200_000_000) for b in batches[1:]]
    began = time.perf_counter()
    for batch in later:
        engine.apply(batch)
    known = time.perf_counter() - began
    count = sum(batch.height for batch in later)
    return {
        "engine_events_per_s": count / known,
        "engine_new_keys_events_per_s": count / fresh,
        "engine_rows_mib": engine.resident_bytes / 2**20,
    }


def durable(plan: Plan, items: Catalogue, n: int, users: int, folder: Path) -> dict[str, float]:
    """A writer appends as fast as it is acknowledged while the pump applies and commits."""
    stream = FileStream(FileStreamConfig(path=str(folder / "stream"), partitions=2))
    store = LmdbStore(LmdbConfig(path=str(folder / "state")))
    engine = Engine(plan, catalogue=items, store=store, config=EngineConfig(memory_mib=14_000))
    pump = Pump(stream, engine, store, config=PumpConfig(most_at_once=400_000), clock=lambda: START)
    pieces = [
        events(50_000, users, seed=100 + i, start=START + i * 10_000_000, per_second=5_000)
        for i in range(n // 50_000)
    ]
    acknowledged = []

    def send() -> None:
        began = time.perf_counter()
        for piece in pieces:
            stream.append(piece, received_at=int(piece["timestamp"].max()))
        acknowledged.append(time.perf_counter() - began)

    began = time.perf_counter()
    sender = threading.Thread(target=send)
    sender.start()
    pump.run(follow=True, stop=lambda: not sender.is_alive() and not pump.lag())
    seconds = time.perf_counter() - began
    sender.join()
    size = sum(file.stat().st_blocks * 512 for file in (folder / "state" / "live").rglob("*"))
    count = engine.counters.applied
    store.close()
    stream.close()
    return {
        "durable_events_per_s": count / seconds,
        "durable_events": float(count),
        "durable_acknowledged_s": acknowledged[0],
        "durable_state_mib": size / 2**20,
    }


def _reader(
    path: str, config: dict, users: int, at: int, seconds: float, out: mp.Queue, n: int
) -> None:
    """A process of its own: watches for new commits, or reads features, while the writer goes on."""
    plan = Plan(parse(FeaturesConfig, config))
    store = LmdbStore(LmdbConfig(path=path, readonly=True))
    items, some = catalogue(), plan.columns[:SOME]
    whole = FeatureReader(plan, store, items)
    part = FeatureReader(plan, store, items, columns=some) if n > 1 else whole
    rng = np.random.default_rng(3)
    users_B = rng.integers(0, users, 20_000)
    items_BN = rng.integers(0, ITEMS, (500, n)) if n > 1 else np.full((500, 1), -1)
    for i in range(30):
        whole.lookup(int(users_B[i]), items_BN[i % 500], at)
        part.lookup(int(users_B[i]), items_BN[i % 500], at)
    out.put("ready")
    seen, spent, end, last = [], [], time.monotonic() + seconds, -1
    i = 0
    while time.monotonic() < end:
        with store.snapshot() as view:
            total = sum(view.offsets().values())
        if total != last:
            seen.append((time.monotonic(), total))
            last = total
        if n:
            i += 1
            reader = part if i % 2 else whole
            began = time.perf_counter()
            table = reader.lookup(int(users_B[i % 20_000]), items_BN[i % 500], at)
            spent.append((len(table.columns), time.perf_counter() - began))
            assert len(table) == max(n, 1)
            time.sleep(0.002)
        else:
            time.sleep(0.0005)
    out.put((seen, spent))


def live(
    plan: Plan,
    items: Catalogue,
    users: int,
    folder: Path,
    *,
    seconds: float,
    rate: int,
    candidates: int,
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Latencies (s) from append to visible, and of reads by columns, at `rate` events a second."""
    stream = FileStream(FileStreamConfig(path=str(folder / "stream"), partitions=2))
    store = LmdbStore(LmdbConfig(path=str(folder / "state")))
    engine = Engine(plan, catalogue=items, store=store, config=EngineConfig(memory_mib=14_000))
    pump = Pump(
        stream, engine, store, config=PumpConfig(checkpoint_s=20), clock=lambda: time.time_ns() // 1000,
        checkpoint=store.checkpoint,
    )  # fmt: skip
    at = engine.counters.watermark + 3_600_000_000
    context = mp.get_context("spawn")
    out = context.Queue()
    config = plan.config.model_dump(mode="json")
    arguments = (str(folder / "state"), config, users, at, seconds + 6, out, candidates)
    reader = context.Process(target=_reader, args=arguments)
    reader.start()
    if out.get(timeout=120) != "ready":  # its kernels are compiled or loaded
        raise SystemExit("the reader did not begin")
    os.sync()  # what earlier parts wrote is not this part's to wait for
    step = 0.01
    many = int(rate * step)
    pieces = [
        events(many, users, seed=9_000 + i, start=at - 600_000_000 + i * 10_000, per_second=rate)
        for i in range(int(seconds / step))
    ]
    sent: list[tuple[float, int]] = []

    def send() -> None:
        os.nice(NICE)
        begin = time.monotonic()
        for i, piece in enumerate(pieces):
            time.sleep(max(begin + i * step - time.monotonic(), 0))
            began = time.monotonic()
            stream.append(piece, received_at=time.time_ns() // 1000)
            sent.append((began, sum(stream.ends().values())))

    sender = threading.Thread(target=send)
    sender.start()

    def write() -> None:  # as `muma stream` does
        os.nice(NICE)
        pump.run(follow=True, stop=lambda: not sender.is_alive() and not pump.lag())

    writer = threading.Thread(target=write)
    writer.start()
    seen, spent = out.get(timeout=seconds + 120)
    writer.join()
    reader.join()
    store.close()
    stream.close()
    when = np.array([t for t, _ in seen])
    reached = np.array([total for _, total in seen])
    place = np.searchsorted(reached, [total for _, total in sent])
    begun = np.array([began for began, _ in sent])
    known = (place < len(when)) & (begun > begun[0] + WARM)
    waits = when[np.minimum(place, len(when) - 1)] - begun
    sizes = dict.fromkeys(size for size, _ in spent)
    return waits[known], {size: np.array([s for n, s in spent if n == size]) for size in sizes}


def ranklens(items: Catalogue, users: int, folder: Path) -> dict[str, float]:
    """Four impressions and four clicks of every user, committed every 100,000 events.

    Rows in memory are bounded; the other keys wait in the store.
    """
    plan = Plan(parse(FeaturesConfig, RANKLENS))
    store = LmdbStore(LmdbConfig(path=str(folder / "ranklens")))
    engine = Engine(plan, catalogue=items, store=store, config=EngineConfig(memory_mib=96))
    rng, seconds, count = np.random.default_rng(6), 0.0, 0
    for i in range(4):
        order = rng.permutation(users).astype(np.uint32)
        for first in range(0, users, 50_000):
            part = order[first : first + 50_000]
            start = START + (i * users + first) * 1_000
            both = [
                events(
                    len(part), users, seed=first + i, start=start, per_second=1_000
                ).with_columns(
                    pl.Series("user_id", part), pl.lit(kind, pl.Enum(KINDS)).alias("kind")
                )
                for kind in ("impression", "click")
            ]
            began = time.perf_counter()
            engine.apply(pl.concat(both))
            engine.commit()
            seconds += time.perf_counter() - began
            count += 2 * len(part)
    disk = sum(f.stat().st_blocks * 512 for f in (folder / "ranklens" / "live").rglob("*"))
    memory = engine.memory_bytes
    store.close()
    scale = 1_000_000 / users / 2**30
    return {
        "gib_per_million_users": (disk + memory) * scale,
        "ranklens_memory_gib": memory * scale,
        "ranklens_disk_gib": disk * scale,
        "ranklens_events_per_s": count / seconds,
    }


def peers(quick: bool, folder: Path) -> dict[str, object]:
    """The window job, each engine in a process of its own."""
    found: dict[str, object] = {}
    small, large = folder / "small.npz", folder / "large.npz"
    np.savez(small, **window_job.events(200_000, 10_000))
    np.savez(large, **window_job.events(2_000_000, 10_000))

    def run(name: str, script: str, python: Path, path: Path) -> None:
        if not python.exists():
            return
        done = subprocess.run(
            [str(python), str(HERE / script), str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            result = json.loads(done.stdout.strip().splitlines()[-1])
            found[f"{name}_events_per_s"] = result["events_per_s"]
            found[f"{name}_wrong_rows"] = result["wrong_rows"]
        elif done.returncode != 3:
            raise SystemExit(f"{script} failed:\n{done.stderr}")

    mine = Path(sys.executable)
    run("window_200k", "window_ours.py", mine, small)
    run("bytewax_200k", "peer_bytewax.py", common.PEERS, small)
    if not quick:
        run("window_2m", "window_ours.py", mine, large)
        run("bytewax_2m", "peer_bytewax.py", common.PEERS, large)
        run("flink_2m", "peer_flink.py", common.PEERS, large)
        run("quix_200k", "peer_quix.py", common.PEERS, small)
    for ours, peer in (("window_200k", "bytewax_200k"), ("window_2m", "bytewax_2m"),
                       ("window_2m", "flink_2m"), ("window_200k", "quix_200k")):  # fmt: skip
        if f"{peer}_events_per_s" in found and f"{ours}_events_per_s" in found:
            ratio = found[f"{ours}_events_per_s"] / found[f"{peer}_events_per_s"]
            found[f"ratio_vs_{peer}"] = ratio
    return found


def exact(plan: Plan, items: Catalogue) -> bool:
    """Offline values at 2,000 moments against the engine's, every column, bit for bit."""
    frame = events(100_000, 2_000, seed=77, start=START, per_second=5).sort("timestamp")
    ids = [Vocabulary(pl.Series("id", range(size), dtype=pl.Int64)) for size in (2_000, ITEMS)]
    log = EventLog(frame.lazy(), *ids)
    rng = np.random.default_rng(4)
    time_N = frame["timestamp"].to_numpy()
    rows = frame[np.sort(rng.integers(1_000, frame.height, 2_000))].select(
        "user_id", "item_id", "timestamp"
    )
    offline = as_of(log, rows, plan, catalogue=items)
    engine = Engine(plan, catalogue=items)
    done, same = 0, True
    for place, at in enumerate(rows["timestamp"].to_list()):
        cut = int(np.searchsorted(time_N, at))
        if cut > done:
            engine.apply(frame.slice(done, cut - done)[rng.permutation(cut - done)])
            done = cut
        one = engine.lookup(
            int(rows["user_id"][place]), rows["item_id"][place : place + 1].to_numpy(), at
        )
        mine, other = one.values_BF[0].view(np.int64), offline.values_BF[place].view(np.int64)
        both_nan = np.isnan(one.values_BF[0]) & np.isnan(offline.values_BF[place])
        same = same and bool(((mine == other) | both_nan).all())
    return same


def main() -> None:
    """Command line."""
    args = common.parser(__doc__).parse_args()
    quick = args.quick
    users = 100_000 if quick else 1_000_000
    plan, items = demo_plan(), catalogue()
    result: dict[str, object] = {"users": users, "columns": len(plan.columns)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result |= engine_alone(plan, items, 600_000 if quick else 4_000_000, users)
        result |= durable(plan, items, 200_000 if quick else 3_000_000, users, folder)
        seconds, rate = (2, 10_000) if quick else (20, 10_000)
        waits, _ = live(plan, items, users, folder, seconds=seconds, rate=rate, candidates=0)
        result |= quantiles("visible_ms", waits) | {"visible_appends": len(waits)}
        _, spent = live(plan, items, users, folder, seconds=seconds, rate=rate, candidates=200)
        for columns, times in spent.items():
            result |= quantiles(f"read_200x{columns}_ms", times)
        own = Plan(parse(FeaturesConfig, OWN))
        few = min(users, 100_000)
        (folder / "own").mkdir()
        durable(own, items, 200_000, few, folder / "own")
        _, spent = live(own, items, few, folder / "own", seconds=seconds, rate=rate, candidates=1)
        result |= quantiles("read_1x250_ms", spent[len(own.columns)])
        result["own_columns"] = len(own.columns)
        result |= ranklens(items, users, folder)
        result |= peers(quick, folder)
    result["exact"] = exact(plan, items) and not any(
        value
        for key, value in result.items()
        if key in ("window_200k_wrong_rows", "window_2m_wrong_rows")
    )
    common.emit(result, as_json=args.json)


def quantiles(name: str, seconds: np.ndarray) -> dict[str, float]:
    """Median and 99th percentile in milliseconds."""
    return {
        f"{name}_p50": float(np.quantile(seconds, 0.5)) * 1e3,
        f"{name}_p99": float(np.quantile(seconds, 0.99)) * 1e3,
    }


if __name__ == "__main__":
    main()
