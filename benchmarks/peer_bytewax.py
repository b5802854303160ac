"""bytewax on the window job (see window_job.py), in one process; the peers' environment only.

Its own event clock, sliding windower and `fold_window`, with what it offers for speed: a source
that hands out batches, folding in arrival order, and a system clock that stands still. So the
watermark follows the events alone: none is late, and no old window wakes the engine up. The larger
the batches the faster, because one batch is grouped by user: the default is generous, 50 s of event
time. The garbage collector is off, for it would walk the windows that are kept for checking. Exit
code 3: bytewax is not installed.

    python benchmarks/peer_bytewax.py events.npz [batch]
"""

from __future__ import annotations

import gc
import sys
import time
from datetime import UTC, datetime, timedelta
from operator import itemgetter

import polars as pl

from common import peak_mib
from window_job import DELAY, LENGTH, START, STEP, Arrays, load, missing, report

try:
    import bytewax.operators as op
    import bytewax.operators.windowing as win
    from bytewax.dataflow import Dataflow
    from bytewax.inputs import DynamicSource, StatelessSourcePartition
    from bytewax.testing import TestingSink, run_main
except ImportError as error:
    missing(f"bytewax is not installed: {error}")

BATCH = 100_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

Event = tuple[str, tuple[datetime, int]]


class Batches(StatelessSourcePartition[Event]):
    """The arrays as (user, (time, dwell)), a batch at a time."""

    def __init__(self, arrays: Arrays, batch: int):
        self.arrays, self.batch, self.at = arrays, batch, 0

    def next_batch(self) -> list[Event]:
        rows = slice(self.at, self.at + self.batch)
        user, micros, dwell = (
            self.arrays[name][rows].tolist() for name in ("user", "time", "dwell_ms")
        )
        if not user:
            raise StopIteration
        self.at += self.batch
        times = [EPOCH + timedelta(microseconds=t) for t in micros]
        return list(zip(map(str, user), zip(times, dwell, strict=True), strict=True))


class Source(DynamicSource[Event]):
    """One partition of batches."""

    def __init__(self, arrays: Arrays, batch: int):
        self.arrays, self.batch = arrays, batch

    def build(self, *_: object) -> Batches:
        return Batches(self.arrays, self.batch)


def fold(total: tuple[int, int], event: tuple[datetime, int]) -> tuple[int, int]:
    """Count an event and add its dwell."""
    return total[0] + 1, total[1] + event[1]


def run(arrays: Arrays, batch: int) -> tuple[float, list]:
    """Seconds from the first input to all windows out, and the windows."""
    out: list = []
    clock = win.EventClock(
        ts_getter=itemgetter(0),
        wait_for_system_duration=DELAY * MICROSECOND,
        now_getter=lambda: EPOCH,
        to_system_utc=lambda _: None,
    )
    windower = win.SlidingWindower(
        length=LENGTH * MICROSECOND,
        offset=STEP * MICROSECOND,
        align_to=EPOCH + START * MICROSECOND,
    )
    flow = Dataflow("windows")
    stream = op.input("events", flow, Source(arrays, batch))
    windows = win.fold_window(
        "fold", stream, clock, windower, lambda: (0, 0), fold, lambda a, _: a, ordered=False
    )
    op.output("out", windows.down, TestingSink(out))
    gc.disable()
    start = time.perf_counter()
    run_main(flow)
    return time.perf_counter() - start, out


def main(path: str, batch: int) -> None:
    """Run the job and report."""
    arrays = load(path)
    took_s, out = run(arrays, batch)
    peak = peak_mib()
    rows = [(int(user), START + i * STEP + LENGTH, *total) for user, (i, total) in out]
    found = pl.DataFrame(rows, ["user", "end", "events", "dwell_ms"], orient="row")
    report(found, arrays, took_s, peak, batch=batch)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else BATCH)
