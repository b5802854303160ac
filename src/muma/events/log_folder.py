"""An event log on disk: an artifact of kind `event-log` that is scanned, not loaded."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl

from muma import artifact
from muma.artifact import Artifact
from muma.events.event import TABLES, EventLog, TableName, empty
from muma.events.vocabulary import Vocabulary

KIND, VERSION = "event-log", 1
KEPT = "fingerprint_before_forgetting"


def open_log(folder: str | Path, *, verify: bool = False) -> EventLog:
    """Open the log that `ingest` wrote.

    Args:
        folder: the artifact.
        verify: also check every file's SHA-256 (reads everything once).

    Raises:
        ArtifactError: the folder is missing, damaged or of another kind.
    """
    return as_log(artifact.read(folder, kind=KIND, version=VERSION, verify=verify))


def as_log(stored: Artifact) -> EventLog:
    """The log inside an opened artifact."""
    return EventLog(
        events=_scan(stored, "events"),
        items=_scan(stored, "items"),
        users=_scan(stored, "users"),
        social=_scan(stored, "social"),
        gaze=_scan(stored, "gaze"),
        user_ids=Vocabulary.load(stored.path("user_ids.parquet")),
        item_ids=Vocabulary.load(stored.path("item_ids.parquet")),
        fingerprint=fingerprint(stored),
    )


def fingerprint(stored: Artifact) -> str:
    """SHA-256 over the hashes of the log's data files, quarantine and reports left out.

    A log from which somebody was forgotten keeps the one it had: what was made from it stays valid.
    """
    if kept := stored.meta.get(KEPT):
        return str(kept)
    lines = [
        f"{name} {entry['sha256']}"
        for name, entry in sorted(stored.files.items())
        if not name.startswith(("quarantine", "report"))
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def quarantine(folder: str | Path) -> pl.LazyFrame:
    """The quarantine table of an ingested log (see `quarantine.py` for its columns)."""
    stored = artifact.read(folder, kind=KIND, version=VERSION, verify=False)
    parts = sorted(name for name in stored.files if name.startswith("quarantine/"))
    return pl.concat([pl.scan_parquet(stored.path(name), glob=False) for name in parts])


def with_declared(frame: pl.LazyFrame, table: TableName) -> pl.LazyFrame:
    """Add the declared columns that `frame` lacks, as nulls."""
    present = frame.collect_schema().names()
    absent = [
        pl.lit(None, dtype=kind).alias(name)
        for name, kind in TABLES[table].items()
        if name not in present
    ]
    return frame.with_columns(absent) if absent else frame


def _scan(stored: Artifact, table: TableName) -> pl.LazyFrame:
    parts = sorted(name for name in stored.files if name.startswith(f"{table}/"))
    if not parts:
        return empty(table)
    frames = [pl.scan_parquet(stored.path(name), glob=False) for name in parts]
    return with_declared(pl.concat(frames, how="diagonal"), table)
