"""Point-in-time features on disk: an artifact of kind `feature-table`, written chunk by chunk.

    part-00000.parquet ...   user_id, item_id, timestamp, a column a feature, five a sequence
    manifest meta            rows, columns, sequences (name: length), fingerprint of the log

Memory holds the ids of the rows (24 bytes each), the log's events and one chunk, never the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from muma import artifact, progress
from muma.events.event import EventLog
from muma.features.catalogue import Catalogue
from muma.features.feature import FeatureTable
from muma.features.followers import Followers
from muma.features.offline.chunk import chunks, padding, read, size_of
from muma.features.offline.history import History, load
from muma.features.offline.rows import Rows
from muma.features.plan import Plan

KIND, VERSION = "feature-table", 1


@dataclass(frozen=True)
class Materialised:
    """What was written where.

    Attributes:
        folder: the artifact.
        rows: rows of the table.
        columns: names of the features, in order.
        parts: Parquet files.
    """

    folder: Path
    rows: int
    columns: tuple[str, ...]
    parts: int


def materialise(
    log: EventLog,
    rows: pl.DataFrame | pl.LazyFrame,
    plan: Plan,
    output: str | Path,
    *,
    chunk_rows: int | None = None,
    catalogue: Catalogue | None = None,
    followers: Followers | None = None,
    float32: bool = False,
    config: Mapping[str, Any] | None = None,
) -> Materialised:
    """Write the features of every row at its own time, all or nothing, in the order of `rows`.

    Args:
        log: the events, the items and the edges.
        rows: `user_id`, `item_id` (dense; null or -1 for none) and `timestamp` (microseconds).
        plan: the features.
        output: folder of the artifact; a feature table that is there is replaced.
        chunk_rows: rows of a part; by default what fits a GiB. It changes no value.
        catalogue: attributes of items; the log's by default.
        followers: who follows whom; the log's by default.
        float32: store features in 32 bits, half the size and no longer equal to online ones.
        config: what to keep in the manifest; the plan's own config by default.

    Raises:
        SchemaError: a column of `rows` is missing or of the wrong type.
        DataError: a timestamp is null, or an id is no index.
        ConfigError: `chunk_rows` is less than 1.
        ArtifactError: the folder holds something else, or the disk is full.
    """
    entries = sum(spec.length for spec, _, _ in plan.sequences)
    size = size_of(chunk_rows, 8 * plan.merged + 24 * len(plan.columns) + 82 * entries)
    asked = Rows.of(rows)
    meta = {
        "rows": len(asked),
        "columns": list(plan.columns),
        "sequences": {spec.name: spec.length for spec, _, _ in plan.sequences},
        "dtype": "float32" if float32 else "float64",
        "fingerprint": log.fingerprint,
    }
    made_from = plan.config.model_dump(mode="json") if config is None else config
    parts = 0
    with artifact.write(output, kind=KIND, version=VERSION, config=made_from, meta=meta) as writer:
        history = load(log, asked, plan, catalogue=catalogue, followers=followers)
        with progress.task("features", total=len(asked)) as task:
            # a table without rows still has a part, so that it keeps its schema
            for start, stop in list(chunks(len(asked), size)) or [(0, 0)]:
                frame = _frame(history, asked.part(start, stop), float32)
                frame.write_parquet(
                    writer.path(f"part-{parts:05d}.parquet"),
                    compression="zstd",
                    compression_level=1,
                )
                parts += 1
                task.advance(stop - start)
        writer.meta["parts"] = parts
    return Materialised(Path(output), len(asked), plan.columns, parts)


def open_features(folder: str | Path, *, verify: bool = False) -> pl.LazyFrame:
    """Scan the table that `materialise` wrote; features as `FeatureTable.frame` names them.

    Args:
        folder: the artifact.
        verify: also check every file's SHA-256 (reads everything once).

    Raises:
        ArtifactError: the folder is missing, damaged or of another kind.
    """
    stored = artifact.read(folder, kind=KIND, version=VERSION, verify=verify)
    names = [name for name in stored.files if name.endswith(".parquet")]
    parts = sorted(names, key=lambda name: (len(name), name))  # part-100000 after part-99999
    return pl.concat([pl.scan_parquet(stored.path(name), glob=False) for name in parts])


def _frame(history: History, rows: Rows, float32: bool) -> pl.DataFrame:
    plan = history.plan
    values_BF = np.empty((len(rows), len(plan.columns)))
    sequences = padding(plan, len(rows))
    read(history, rows, values_BF, sequences)
    frame = FeatureTable(plan.columns, values_BF, rows.at_B, sequences).frame()
    if float32:
        frame = (
            frame.with_columns(pl.col(*plan.columns).cast(pl.Float32)) if plan.columns else frame
        )
    ids = {"user_id": rows.user_B, "item_id": rows.item_B}
    known = [
        pl.when(pl.col(name) >= 0).then(pl.col(name)).cast(pl.UInt32).alias(name) for name in ids
    ]
    keys = pl.DataFrame(ids).select(*known, pl.Series("timestamp", rows.at_B))
    return pl.concat([keys, frame], how="horizontal")
