"""MUMA's online engine on the window job (see window_job.py); same input, same output, one process.

python benchmarks/window_ours.py events.npz [batch]
"""

from __future__ import annotations

import sys
import time

import numpy as np
import polars as pl

from common import peak_mib
from muma.config import parse
from muma.features.catalogue import Catalogue
from muma.features.config import FeaturesConfig
from muma.features.online.engine import Engine
from muma.features.plan import Plan
from window_job import DELAY, LENGTH, START, STEP, load, report

FAMILIES = "muma.features.families."
BLOCK = {"keys": ["user"], "of": ["play"], "windows": ["60s/10s"]}
PLAN = {
    "blocks": {
        "count": {"use": FAMILIES + "count.Count", **BLOCK},
        "sum": {"use": FAMILIES + "total.Sum", **BLOCK},
    }
}


def run(frame: pl.DataFrame, batch: int) -> pl.DataFrame:
    """Apply in arrival order; a window is read once no event can still be missing from it."""
    engine = Engine(Plan(parse(FeaturesConfig, PLAN)), catalogue=Catalogue.empty())
    active: dict[int, list[np.ndarray]] = {}
    found, next_end, newest = [], START + STEP, START

    def fire(end: int) -> None:
        panes = range((end - LENGTH) // STEP, end // STEP)
        users = [part for pane in panes for part in active.get(pane, [])]
        active.pop(panes[0], None)
        if not users:
            return
        user_B = np.unique(np.concatenate(users))
        nothing = np.full(len(user_B), -1)
        table = engine.table(user_B, nothing, np.full(len(user_B), end - 1))
        count, total = table.values_BF.T
        found.append(
            {"user": user_B, "end": np.full(len(user_B), end), "events": count, "dwell_ms": total}
        )

    for start in range(0, frame.height, batch):
        part = frame.slice(start, batch)
        engine.apply(part)
        pane, user = (
            part.get_column("timestamp").to_numpy() // STEP,
            part.get_column("user_id").to_numpy(),
        )
        for one in np.unique(pane).tolist():
            active.setdefault(one, []).append(np.unique(user[pane == one]).astype(np.int64))
        newest = max(newest, int(part.get_column("timestamp").max()))
        while next_end <= newest - DELAY:
            fire(next_end)
            next_end += STEP
    while next_end < newest + LENGTH + STEP:
        fire(next_end)
        next_end += STEP
    return pl.concat([pl.DataFrame(part) for part in found]).cast(pl.Int64)


def main() -> None:
    """Command line."""
    arrays = load(sys.argv[1])
    batch = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    n = len(arrays["user"])
    frame = pl.DataFrame(
        {
            "user_id": arrays["user"].astype(np.uint32),
            "item_id": pl.repeat(None, n, dtype=pl.UInt32, eager=True),
            "domain": pl.repeat("video", n, eager=True),
            "kind": pl.repeat("play", n, eager=True),
            "timestamp": arrays["time"],
            "dwell_ms": arrays["dwell_ms"].astype(np.int32),
        }
    )
    run(frame.head(20_000), batch)  # the kernels are compiled or loaded before the clock starts
    began = time.perf_counter()
    found = run(frame, batch)
    seconds = time.perf_counter() - began
    report(found, arrays, seconds, peak_mib())


if __name__ == "__main__":
    main()
