"""Ingestion of synthetic events: read, validate, clean, order and write, timed as one.

    python benchmarks/events.py --quick --json
    python benchmarks/events.py --rows 100000000        # memory bound of the spilling path
    python benchmarks/events.py --format jsonl --rows 2000000

Rows arrive almost in time order (up to a minute late); 1 % are invalid, 0.5 % are exact repeats, one
client clicks 500 times in ten seconds now and then, and another keeps sending the same event. Each measurement runs in a fresh process, so `peak_mib` is its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

import common
from muma.events.ingest import ingest
from muma.events.sources.files import Files, FilesConfig

CHUNK = 2_000_000
START = 1_700_000_000_000_000
STUCK = {"item": 3, "kind": "play", "slot": 0, "p": 0.5, "duration": 60_000}


def chunk(index: int, rows: int, *, users: int, items: int) -> pl.DataFrame:
    """Synthetic events number index * CHUNK onwards, with the dirt described above."""
    rng = np.random.default_rng(index)
    steps = (index * CHUNK + np.arange(rows)) * 1_000_000 // 50  # 50 events a second
    late = rng.integers(0, 60_000_000, rows)
    duration = np.exp(rng.normal(10.5, 0.8, rows)).astype(np.int32)
    dwell = (duration * rng.beta(0.8, 1.5, rows)).astype(np.int32)
    user = np.minimum(rng.zipf(1.3, rows), users).astype(np.int64) * 7919 % users
    kind = rng.choice(["impression", "click", "play", "like"], rows, p=[0.5, 0.2, 0.25, 0.05])
    frame = pl.DataFrame(
        {
            "user": np.where(rng.random(rows) < 0.8, rng.integers(0, users, rows), user),
            "item": (rng.pareto(1.2, rows) * 50).astype(np.int64) % items,
            "kind": kind,
            "ts": START + steps - late,
            "dwell": dwell,
            "duration": duration,
            "slot": rng.integers(0, 20, rows).astype(np.int32),
            "p": rng.uniform(0.01, 1.0, rows),
        }
    )
    place = pl.int_range(pl.len()) % 200_000
    frame = frame.with_columns(
        user=pl.when(place < 500).then(7).when(place > 199_900).then(11).otherwise(pl.col("user")),
        kind=pl.when(place < 500).then(pl.lit("click")).otherwise(pl.col("kind")),
    ).with_columns(
        pl.when(place > 199_900).then(pl.lit(value)).otherwise(pl.col(name)).alias(name)
        for name, value in STUCK.items()
    )
    frame = frame.cast({"slot": pl.Int32, "duration": pl.Int32, "item": pl.Int64, "user": pl.Int64})
    draw = pl.Series(rng.random(rows))
    dirty = frame.with_columns(
        dwell=pl.when(draw < 0.004).then(-1).otherwise(pl.col("dwell")).cast(pl.Int32),
        p=pl.when((draw > 0.004) & (draw < 0.008)).then(float("nan")).otherwise(pl.col("p")),
        ts=pl.when((draw > 0.008) & (draw < 0.01)).then(-5).otherwise(pl.col("ts")),
    )
    again = dirty.sample(max(rows // 200, 1), seed=index)
    return pl.concat([dirty.head(rows - again.height), again])


def write(path: Path, rows: int, *, users: int, items: int) -> None:
    """Write the log as one Parquet or JSON Lines file."""
    starts = range(0, rows, CHUNK)
    if path.suffix == ".jsonl":
        with path.open("wb") as stream:
            for index, start in enumerate(starts):
                part = chunk(index, min(CHUNK, rows - start), users=users, items=items)
                part.with_columns(pl.col("p").fill_nan(2.0)).write_ndjson(stream)
        return
    writer = None
    for index, start in enumerate(starts):
        part = chunk(index, min(CHUNK, rows - start), users=users, items=items).to_arrow()
        writer = writer or pq.ParquetWriter(path, part.schema, compression="zstd")
        writer.write_table(part, row_group_size=1 << 20)
    if writer is not None:
        writer.close()


def measure(path: Path, output: Path, queue: multiprocessing.Queue) -> None:
    """Ingest one file in this process and report."""
    unit = "us"
    columns = {
        "user_id": "user", "item_id": "item", "kind": "kind", "timestamp": "ts",
        "dwell_ms": "dwell", "item_duration_ms": "duration", "position": "slot", "propensity": "p",
    }  # fmt: skip
    table = {
        "files": [str(path)],
        "columns": columns,
        "constants": {"domain": "video"},
        "time_unit": unit,
    }
    source = Files(FilesConfig.model_validate({"events": table}))
    began = time.perf_counter()
    report = ingest(source, output)
    seconds = time.perf_counter() - began
    if report.events.read != report.events.kept + report.events.quarantined:
        raise SystemExit("rows were lost")
    queue.put(
        {
            "read": report.events.read,
            "kept": report.events.kept,
            "quarantined": report.events.quarantined,
            "bots": report.refused["events.cleaning.bots"],
            "stuck": report.refused["events.cleaning.stuck"],
            "duplicates": report.refused["events.cleaning.duplicates"],
            "seconds": round(seconds, 2),
            "events_per_s": round(report.events.read / seconds),
            "peak_mib": round(common.peak_mib()),
        }
    )


def run(rows: int, kind: str) -> dict[str, float]:
    """Write a log, ingest it in a fresh process, return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"log.{kind}"
        write(path, rows, users=1_000_000, items=100_000)
        context = multiprocessing.get_context("spawn")
        queue = context.Queue()
        process = context.Process(target=measure, args=(path, Path(folder) / "out", queue))
        process.start()
        result = queue.get(timeout=3_000)
        process.join()
        return result | {"input_mib": round(path.stat().st_size / 2**20)}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    parser.add_argument("--quick", action="store_true", help="2 million rows, under 50 s")
    parser.add_argument("--rows", type=int, help="rows (default 10 million)")
    parser.add_argument("--format", choices=["parquet", "jsonl", "both"], default="both")
    args = parser.parse_args()
    rows = args.rows or (2_000_000 if args.quick else 10_000_000)
    result: dict[str, object] = {"machine": common.machine(), "rows": rows}
    if args.format in ("parquet", "both"):
        result |= run(rows, "parquet")
    if args.format in ("jsonl", "both"):
        few = rows if args.format == "jsonl" else min(rows, 500_000 if args.quick else 2_000_000)
        result |= {f"jsonl_{key}": value for key, value in run(few, "jsonl").items()}
    common.emit(result, as_json=args.json)


if __name__ == "__main__":
    main()
