"""Features as of past moments, offline: 10 M events x 50 columns x 1 M rows, and 1,008 on KuaiRand.

    python benchmarks/as_of.py --quick --json

Three sizes of one world of 1 M users, in which events and rows grow together as with a longer log,
show how the cost grows; `crowd_growth` is the same where users grow, too, and leave the caches. Each
measurement runs in a process of its own, so that `peak_mib` is its own; a small table is written
before the clock starts, so that the kernels are compiled or loaded.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

import common
from features import ITEMS, KINDS, START, catalogue, events
from muma.app.config import read_recipe
from muma.app.ingestion import prepare
from muma.config import parse
from muma.events.event import EventLog
from muma.events.vocabulary import Vocabulary
from muma.features.config import FeaturesConfig
from muma.features.offline.materialise import materialise
from muma.features.plan import Plan

HERE = Path(__file__).parent
FAMILIES = "muma.features.families."
WINDOWS = ["1h/10m", "1d/2h", "7d/1d"]
FIFTY = {
    "blocks": {
        "activity": {
            "use": FAMILIES + "count.Count", "keys": ["user", "item", "category", "user x category"],
            "of": ["impression", "click", "long_view"], "windows": WINDOWS,
        },
        "rate": {"use": FAMILIES + "rate.Rate", "keys": ["user", "item", "category", "user x category"],
                 "windows": ["1d/2h", "7d/1d"]},
        "dwell": {"use": FAMILIES + "mean.Mean", "keys": ["user", "item"], "of": ["play"], "windows": WINDOWS},
    }
}  # fmt: skip


def synthetic(n: int, users: int) -> dict[str, float]:
    """Materialise `n / 10` rows over `n` events of so many users, in a week."""
    plan = Plan(parse(FeaturesConfig, FIFTY))
    frame = events(n, users, seed=8, start=START, per_second=n / 604_800).sort("timestamp")
    ids = [Vocabulary(pl.Series("id", range(size), dtype=pl.Int64)) for size in (users, ITEMS)]
    log = EventLog(frame.lazy(), *ids)
    rows = frame.filter(pl.col("kind") == KINDS[0]).sample(n // 10, seed=1)
    return timed(log, rows, plan, catalogue())


def kuairand(rows: int) -> dict[str, float]:
    """Materialise the 1,008 columns of recipes/kuairand.toml at impressions of the bundled log."""
    config = read_recipe(HERE.parent / "recipes" / "kuairand.toml")
    source = {"use": config.events.source.use, "path": str(HERE.parent / "data" / "kuairand-pure")}
    section = config.events.model_copy(update={"source": type(config.events.source)(**source)})
    with tempfile.TemporaryDirectory() as folder:
        log = prepare(section, Path(folder) / "log").log
        shown = log.events.filter(pl.col("kind") == "impression").collect()
        chosen = shown.sample(min(rows, shown.height), seed=1)
        return timed(log, chosen, Plan(config.features), None)


def timed(log: EventLog, rows: pl.DataFrame, plan: Plan, items: object) -> dict[str, float]:
    """Seconds, peak memory and size of one materialisation."""
    asked = rows.select("user_id", "item_id", "timestamp")
    with tempfile.TemporaryDirectory() as folder:
        materialise(log, asked.head(1_000), plan, Path(folder) / "first", catalogue=items)
        began = time.perf_counter()
        written = materialise(log, asked, plan, Path(folder) / "table", catalogue=items)
        seconds = time.perf_counter() - began
        count = log.events.select(pl.len()).collect().item()
    return {"s": seconds, "peak_mib": common.peak_mib(), "rows": written.rows,
            "columns": len(written.columns), "events": count}  # fmt: skip


def main() -> None:
    """Command line."""
    if len(sys.argv) > 2 and sys.argv[1] in ("synthetic", "kuairand"):
        part = {"synthetic": synthetic, "kuairand": kuairand}[sys.argv[1]]
        print(json.dumps(part(*map(int, sys.argv[2:]))))
        return
    args = common.parser(__doc__).parse_args()
    sizes = (250_000, 500_000, 1_000_000) if args.quick else (2_500_000, 5_000_000, 10_000_000)
    result: dict[str, object] = {}
    for name, size in zip(("small", "medium", "large"), sizes, strict=True):
        found = common.in_fresh_process(__file__, "synthetic", str(size), str(sizes[-1] // 10))
        result |= {f"{name}_{key}": value for key, value in found.items()}
    result["growth_small_to_large"] = float(result["large_s"]) / float(result["small_s"])
    few = common.in_fresh_process(__file__, "synthetic", str(sizes[0]), str(sizes[0] // 10))
    result["crowd_growth"] = float(result["large_s"]) / float(few["s"])
    found = common.in_fresh_process(__file__, "kuairand", "10000" if args.quick else "100000")
    result |= {f"kuairand_{key}": value for key, value in found.items()}
    common.emit(result, as_json=args.json)


if __name__ == "__main__":
    main()
