"""Small logs on disk, and the published data sets where they are present."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from muma.events.ingest import ingest
from muma.events.sources.files import Files, FilesConfig

REPO = Path(__file__).parents[2]
T0 = 1_700_000_000  # seconds
COLUMNS = {"user_id": "user", "item_id": "item", "timestamp": "ts", "dwell_ms": "dwell"}


def dataset(name: str) -> Path:
    """Folder of a published data set, or skip."""
    homes = [REPO / "data"]
    homes += [Path(os.environ["MUMA_DATA"])] if "MUMA_DATA" in os.environ else []
    homes += [REPO.parent / "shared" / "data"]
    for home in homes:
        if (home / name).is_dir():
            return home / name
    pytest.skip(f"data set {name} is absent; set MUMA_DATA to the folder that holds it")


@pytest.fixture(scope="session")
def data_home():
    return dataset


@pytest.fixture
def files_source():
    """Build a Files source of events from a pattern."""

    def make(pattern: str | Path, **table: object) -> Files:
        settings = {
            "files": [str(pattern)],
            "columns": COLUMNS,
            "constants": {"domain": "news", "kind": "click"},
            "time_unit": "s",
            **{k: v for k, v in table.items() if k not in ("items", "users", "social", "gaze")},
        }
        others = {k: v for k, v in table.items() if k in ("items", "users", "social", "gaze")}
        return Files(FilesConfig.model_validate({"events": settings, **others}))

    return make


@pytest.fixture
def good_csv():
    """Bytes of a clean CSV of `n` events."""

    def make(n: int = 5) -> bytes:
        rows = [f"u{k % 7},i{k % 11},{T0 + 60 * k},{1000 + k}" for k in range(n)]
        return ("user,item,ts,dwell\n" + "\n".join(rows) + "\n").encode()

    return make


@pytest.fixture
def log_at(tmp_path, files_source, good_csv):
    """Write a small log and return its folder."""

    def make(name: str = "log", n: int = 5) -> Path:
        source = tmp_path / f"{name}-source.csv"
        source.write_bytes(good_csv(n))
        ingest(files_source(source), tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture
def tree():
    """Everything below a folder, as bytes by relative path, the lock left out."""

    def make(folder: Path) -> dict[str, bytes]:
        return {
            str(p.relative_to(folder)): p.read_bytes()
            for p in sorted(folder.rglob("*"))
            if p.is_file() and p.name != ".lock"
        }

    return make


@pytest.fixture(scope="session")
def frame_of():
    """A typed frame of events as the cleaning rules see it."""

    def make(rows: list[dict[str, object]]) -> pl.DataFrame:
        base = {"user_id": 0, "item_id": 0, "kind": "click", "timestamp": T0 * 1_000_000}
        schema = {
            "user_id": pl.UInt32,
            "item_id": pl.UInt32,
            "kind": pl.String,
            "timestamp": pl.Int64,
            "dwell_ms": pl.Int32,
            "item_duration_ms": pl.Int32,
            "time_inferred": pl.Boolean,
            "ctx_x": pl.String,
            "file": pl.UInt32,
            "row": pl.UInt32,
        }
        data = [{**base, "file": 0, "row": n, **row} for n, row in enumerate(rows, start=1)]
        return pl.DataFrame(data, schema=schema)

    return make
