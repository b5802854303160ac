"""The window job that every streaming engine gets: its events, its exact answer and its check.

Events (user, time in microseconds, dwell_ms) arrive out of order by less than 5 s. Wanted, for
every user and window with at least one event: how many events and their total dwell, in windows of
60 s every 10 s. The window that ends at e covers e - 60 s <= time < e; e is a multiple of 10 s.

    python benchmarks/window_job.py EVENTS USERS events.npz
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NoReturn

import numpy as np
import polars as pl

SECOND = 1_000_000
LENGTH, STEP, DELAY = 60 * SECOND, 10 * SECOND, 5 * SECOND
START = 1_767_225_600 * SECOND  # 2026-01-01, a multiple of STEP
PER_SECOND = 2_000  # events in a second of event time
SEED = 11
KEY = ["user", "end"]

Arrays = dict[str, np.ndarray]


def events(n: int, users: int, seed: int = SEED) -> Arrays:
    """`user`, `time` and `dwell_ms` of n events in arrival order; a few users are busy."""
    rng = np.random.default_rng(seed)
    time_N = START + rng.integers(0, n * SECOND // PER_SECOND, n)
    user_N = (users * rng.random(n) ** 1.5).astype(np.int64)
    dwell_N = rng.integers(200, 120_000, n)
    order_N = np.argsort(time_N + rng.integers(0, DELAY, n), kind="stable")
    return {"user": user_N[order_N], "time": time_N[order_N], "dwell_ms": dwell_N[order_N]}


def reference(arrays: Arrays) -> pl.DataFrame:
    """The exact answer (`user`, `end` in microseconds, `events`, `dwell_ms`) by user and end."""
    panes = (
        pl.DataFrame(arrays)
        .group_by("user", pane=pl.col("time") // STEP)
        .agg(events=pl.len().cast(pl.Int64), dwell_ms=pl.col("dwell_ms").sum())
    )
    ends = pl.DataFrame({"after": np.arange(1, LENGTH // STEP + 1)})
    return (
        panes.join(ends, how="cross")
        .group_by("user", end=(pl.col("pane") + pl.col("after")) * STEP)
        .agg(pl.col("events", "dwell_ms").sum())
        .sort(KEY)
    )


def check(found: pl.DataFrame, wanted: pl.DataFrame) -> int:
    """How many rows of `found` are wrong, missing or too many."""
    once = found.cast(dict.fromkeys(wanted.columns, pl.Int64)).unique(KEY, keep="any")
    both = wanted.join(once, on=KEY, how="full", coalesce=True)
    same = [pl.col(name).eq_missing(pl.col(f"{name}_right")) for name in ("events", "dwell_ms")]
    return both.filter(~pl.all_horizontal(same)).height + found.height - once.height


def load(path: str | Path) -> Arrays:
    """The arrays of an `events.npz`."""
    with np.load(path) as file:
        return {name: file[name] for name in ("user", "time", "dwell_ms")}


def missing(message: str) -> NoReturn:
    """Say on stderr what the peer lacks and leave with exit code 3."""
    print(message, file=sys.stderr)
    raise SystemExit(3)


def report(
    found: pl.DataFrame, arrays: Arrays, seconds: float, peak_mib: float, **more: object
) -> None:
    """Print a peer's result as one JSON object."""
    n = len(arrays["user"])
    result = {
        "events": n,
        "seconds": seconds,
        "events_per_s": n / seconds,
        "rows": found.height,
        "wrong_rows": check(found, reference(arrays)),
        "peak_mib": peak_mib,
    }
    print(json.dumps({**result, **more}))


if __name__ == "__main__":
    np.savez(sys.argv[3], **events(int(sys.argv[1]), int(sys.argv[2])))
