"""Features of a recipe: compiled, and read as of past moments into a table on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from muma.app.config import AppConfig
from muma.app.ingestion import prepare
from muma.errors import ConfigError
from muma.events.event import EventLog
from muma.events.log_folder import open_log
from muma.features.catalogue import Catalogue
from muma.features.followers import Followers
from muma.features.offline.materialise import materialise
from muma.features.plan import Plan
from muma.rng import derive


@dataclass(frozen=True)
class World:
    """What both engines need of a recipe: the plan, the log, and what is known of items and users."""

    plan: Plan
    log: EventLog
    catalogue: Catalogue
    followers: Followers


def compile_features(config: AppConfig) -> Plan:
    """Compile the section `[features]`.

    Raises:
        ConfigError: the recipe has none, or it is wrong.
    """
    if not config.features.blocks and not config.features.sequences:
        raise ConfigError(
            f"recipe {config.name!r} has no section [features]; recipes/demo.toml shows one"
        )
    return Plan(config.features)


def open_world(config: AppConfig, *, now_us: int | None = None) -> World:
    """Compile the features and open the recipe's log, ingesting it first when it is not there."""
    plan = compile_features(config)
    log = prepare(config.events, config.folder / "log", now_us=now_us).log
    return World(plan, log, Catalogue.of(log), Followers.of(log))


def read_world(config: AppConfig) -> World:
    """The same of a log that is there, which is taken as it is.

    Raises:
        ArtifactError: there is none.
    """
    plan, log = compile_features(config), open_log(config.folder / "log")
    return World(plan, log, Catalogue.of(log), Followers.of(log))


def materialise_recipe(
    config: AppConfig,
    *,
    rows: str | Path | None = None,
    kind: str = "impression",
    limit: int | None = None,
    output: str | Path | None = None,
    now_us: int | None = None,
) -> dict[str, Any]:
    """Write the recipe's features as of past moments to `RUN/features`.

    Args:
        config: the recipe.
        rows: Parquet or CSV file of `user_id`, `item_id` (raw ids) and `timestamp` (UTC
            microseconds); None takes the log's own events of `kind`.
        kind: kind of event whose moments are read when `rows` is None.
        limit: read at most so many rows, drawn evenly by the recipe's seed.
        output: folder of the table; default `RUN/features`.
        now_us: the clock.

    Returns:
        Folder, rows, columns and parts of the table.
    """
    world = open_world(config, now_us=now_us)
    asked = _rows(world.log, rows, kind)
    if limit is not None and limit < asked.height:
        chosen = derive(config.seed, "features", "rows").choice(asked.height, limit, replace=False)
        asked = asked[np.sort(chosen)]
    folder = Path(output) if output is not None else config.folder / "features"
    written = materialise(
        world.log,
        asked,
        world.plan,
        folder,
        config=config.features.model_dump(mode="json"),
        catalogue=world.catalogue,
        followers=world.followers,
    )
    return {
        "folder": str(written.folder),
        "rows": written.rows,
        "columns": len(written.columns),
        "parts": written.parts,
    }


def _rows(log: EventLog, rows: str | Path | None, kind: str) -> pl.DataFrame:
    columns = ["user_id", "item_id", "timestamp"]
    if rows is None:
        moments = log.events.filter(pl.col("kind") == kind).select(columns)
        found = moments.collect()
        if found.is_empty():
            raise ConfigError(f"the log has no event of kind {kind!r}; name another with --kind")
        return found
    path = Path(rows)
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; name a Parquet or CSV file of rows")
    try:
        frame = pl.read_csv(path) if path.suffix == ".csv" else pl.read_parquet(path, glob=False)
    except pl.exceptions.PolarsError as error:
        raise ConfigError(f"{path} cannot be read as rows: {error}") from None
    if absent := [name for name in columns if name not in frame.columns]:
        raise ConfigError(f"{path} lacks the column {absent[0]!r}; it needs {', '.join(columns)}")
    if not frame.schema["timestamp"].is_integer():
        raise ConfigError(f"{path}: timestamp must be whole microseconds in UTC")
    return frame.select(
        log.user_ids.encode(frame.get_column("user_id")).alias("user_id"),
        log.item_ids.encode(frame.get_column("item_id")).alias("item_id"),
        pl.Series("timestamp", frame.get_column("timestamp").cast(pl.Int64)),
    )
