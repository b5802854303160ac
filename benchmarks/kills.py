"""Nothing acknowledged is lost: `kill -9` of the whole service under load, again and again.

    python benchmarks/kills.py --json            # 20 kills, KuaiRand
    python benchmarks/kills.py --quick --json    # 3 kills, a smaller training

Each round starts `muma serve`, sends lists and events at a fixed rate and kills every process of it at a
moment drawn at random. After the next start each answer of the round is asked for by its request id, and
batches of events that were not acknowledged are sent again, as a sender would. At the end the log is
read: an acknowledged event that was sent once stands in it once; and clicks and impressions of every
user are counted from the log, a repeated event id once, against the features. Any difference is counted
here, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np
import polars as pl

import common
import served
from muma.app.config import read_recipe
from muma.app.service.make import Opened, open_service
from muma.client.load.link import Call
from muma.client.load.load import LoadConfig
from muma.client.load.run import run

DAY, PANE = 86_400_000_000, 7_200_000_000  # of the window "1d/2h", microseconds
COLUMNS = {"click": "user.click.count.1d", "impression": "user.impression.count.1d"}
PROMISE_MS = 50.0  # decisions of the last so many milliseconds may be lost


@dataclass
class Round:
    """What a sender knows of one life of the service.

    Attributes:
        name: event ids and request ids begin with it.
        batch: events of one request.
        acked, doubt: numbers of the first events of batches that were and were not acknowledged.
        bodies: of the batches in doubt.
        answered: request id -> when its answer came, monotonic seconds.
        killed_at: monotonic seconds.
    """

    name: str
    batch: int
    acked: list[int] = field(default_factory=list)
    doubt: list[int] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    answered: dict[str, float] = field(default_factory=dict)
    killed_at: float = 0.0

    def heard(self, call: Call, status: int, _: bytes) -> None:
        """Note what became of a request."""
        if call.route == "events":
            (self.acked if status == 200 else self.doubt).append(call.first)
            if status != 200:
                self.bodies.append(call.data.partition(b"\r\n\r\n")[2])
        elif status == 200:
            self.answered[f"{self.name}-{call.number}"] = time.monotonic()

    def ids(self, firsts: Sequence[int]) -> list[str]:
        """Ids of the events of some batches."""
        return [f"{self.name}-{n}" for first in firsts for n in range(first, first + self.batch)]


def one_life(
    server: served.Server, now: Round, config: LoadConfig, after_s: float,
    users: list[str], items: list[str],
) -> None:  # fmt: skip
    """Load until the kill."""
    over = threading.Event()

    def kill() -> None:
        now.killed_at = time.monotonic()
        server.kill()
        over.set()

    timer = threading.Timer(after_s, kill)
    timer.start()
    run(
        server.url, server.key, config, users=users, items=items, name=now.name, heard=now.heard,
        stop=over.is_set,
    )  # fmt: skip
    timer.join()


def lost_decisions(server: served.Server, then: Round, *, most: int) -> list[float]:
    """Milliseconds before the kill of the newest answers that are not kept."""
    link = served.Link(server)
    newest = sorted(then.answered, key=then.answered.__getitem__)[-most:]
    gone = [name for name in newest if not link.has(f"/v1/decisions/{name}")]
    return [(then.killed_at - then.answered[name]) * 1e3 for name in gone]


def send_again(server: served.Server, then: Round) -> None:
    """The batches whose answer never came, as they were."""
    link = served.Link(server)
    for body in then.bodies:
        link.post("/v1/events", json.loads(body))


def number(event_id: str) -> int:
    """As the stream keeps it."""
    return int.from_bytes(blake2b(event_id.encode(), digest_size=8).digest(), "little")


def log_of(opened: Opened) -> pl.DataFrame:
    """Event id (a number), user, kind and time of everything in the stream, in order of offsets."""
    stream, frames = opened.running.stream, []
    for partition, end in stream.ends().items():
        at = stream.starts()[partition]
        while at < end:
            batch = stream.read(partition, at, limit=100_000)
            if batch is None:
                break
            frames.append(batch.frame.select("event_id", "user_id", "kind", "timestamp"))
            at = batch.next_offset
    return pl.concat(frames)


def miscounted(opened: Opened, log: pl.DataFrame, *, users: int) -> tuple[int, int]:
    """Users whose counts of the last day differ from the log's, of the most active ones; and how many."""
    at = opened.clock()
    begin = at - at % PANE - DAY + PANE
    once = pl.concat(
        [log.filter(pl.col("event_id").is_null()),
         log.drop_nulls("event_id").unique("event_id", keep="first", maintain_order=True)]
    )  # fmt: skip
    counted = once.filter(pl.col("timestamp").is_between(begin, at, closed="left"))
    busiest = counted.group_by("user_id").len().sort("len", "user_id", descending=True)
    columns = opened.engine.versions.bundle.features
    wrong, seen = 0, busiest.get_column("user_id").head(users).to_list()
    by_user = counted.filter(pl.col("user_id").is_in(seen)).partition_by("user_id", as_dict=True)
    for user in seen:
        kinds = Counter(by_user[(user,)].get_column("kind").to_list())
        row_F = opened.running.state.features(int(user), np.array([0]), at)[0]
        found = {kind: row_F[columns.index(name)] for kind, name in COLUMNS.items()}
        wrong += any(int(np.nan_to_num(found[kind])) != kinds[kind] for kind in COLUMNS)
    return wrong, len(seen)


def killed(
    recipe: str | Path, sets: Sequence[str], *, kills: int, config: LoadConfig,
    users: list[str], items: list[str], log: str | Path | None = None, seed: int = 0,
) -> dict[str, float]:  # fmt: skip
    """Kill the service so many times and look at what is left."""
    rng, tag = np.random.default_rng(seed), f"kill-{time.time_ns():x}"
    rounds: list[Round] = []
    starts, lost, asked = [], [], 0
    for n in range(kills + 1):
        server = served.start(recipe, sets, log=log)
        starts.append(server.start_s)
        if rounds:
            before = rounds[-1]
            lost += lost_decisions(server, before, most=300)
            asked += min(len(before.answered), 300)
            send_again(server, before)
        if n == kills:
            server.stop()
            break
        rounds.append(Round(f"{tag}-{n}", config.batch))
        one_life(server, rounds[-1], config, float(rng.uniform(1.0, 3.0)), users, items)
    opened = open_service(read_recipe(recipe, overrides=list(sets)), time_of="log")
    try:
        found = log_of(opened)
        wrong, looked = miscounted(opened, found, users=3_000)
    finally:
        opened.close()
    times = Counter(found.get_column("event_id").drop_nulls().to_list())
    acked = [number(name) for one in rounds for name in one.ids(one.acked)]
    doubt = [number(name) for one in rounds for name in one.ids(one.doubt)]
    return {
        "kills": kills,
        "events_acknowledged": len(acked),
        "acknowledged_not_once_in_log": sum(times[name] != 1 for name in acked),
        "events_in_doubt_sent_again": len(doubt),
        "in_doubt_not_in_log_at_the_end": sum(times[name] < 1 for name in doubt),
        "users_counted": looked,
        "users_miscounted_in_features": wrong,
        "decisions_looked_for": asked,
        "decisions_lost": len(lost),
        "decisions_lost_beyond_50ms": sum(age > PROMISE_MS for age in lost),
        "oldest_lost_decision_ms": round(max(lost, default=0.0), 2),
        "start_after_kill_max_s": round(max(starts[1:]), 2),
    }


WRONG = (
    "acknowledged_not_once_in_log", "in_doubt_not_in_log_at_the_end", "users_miscounted_in_features",
    "decisions_lost_beyond_50ms",
)  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    parser.add_argument("--quick", action="store_true", help="3 kills, a smaller training")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rps", type=float, default=40.0, help="lists a second")
    parser.add_argument("--runs", help="folder of runs, to use a training of the demo again")
    args = parser.parse_args()
    sets = served.trained(args.runs, quick=args.quick)
    users, items = served.ids(sets)
    config = LoadConfig(rps=args.rps, events_per_s=1_000.0, seconds=60.0, warm_s=0.0, timeout_s=5.0)
    kills = 3 if args.quick else args.kills
    found = killed(
        served.RECIPE, sets, kills=kills, config=config, users=users[:3_000], items=items
    )
    common.emit({**found, "quick": args.quick}, as_json=args.json)
    raise SystemExit(any(found[name] for name in WRONG))


if __name__ == "__main__":
    main()
