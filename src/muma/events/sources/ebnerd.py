"""EB-NeRD: news impressions with in-view lists, clicks, read time and scroll depth.

An impression row gives one `impression` for each article in view (with its position), a `click`
for each clicked one (dwell is the read time that followed), and a `play` for the article page the
user was on. Times name no zone and are taken as UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from muma.config import Config
from muma.events.formats.parquet import read_parquet
from muma.events.sources.adapter import Adapter, Table, found, whole

BEHAVIORS = [
    "impression_id", "article_id", "impression_time", "read_time", "scroll_percentage",
    "device_type", "article_ids_inview", "article_ids_clicked", "user_id", "session_id",
    "next_read_time", "next_scroll_percentage",
]  # fmt: skip
HISTORY = {
    "item_id": "article_id_fixed",
    "time": "impression_time_fixed",
    "read_time": "read_time_fixed",
    "scroll": "scroll_percentage_fixed",
}


class EbnerdConfig(Config):
    """Where the data set lies.

    Attributes:
        path: folder with `behaviors.parquet` and `history.parquet`.
        history: also read the 21 days before.
    """

    path: str
    history: bool = True


class Ebnerd(Adapter):
    """Reads impressions, clicks and reads."""

    def __init__(self, config: EbnerdConfig) -> None:
        self.config = config

    def files(self) -> list[str]:
        """The Parquet files that are read."""
        names = ["behaviors.parquet", *(["history.parquet"] if self.config.history else [])]
        return [str(found(self.config.path, name)) for name in names]

    def tables(self) -> Iterator[Table]:
        """Behaviours, then the history."""
        for name in self.files():
            path = Path(name)
            if path.name == "behaviors.parquet":
                rows, bad = whole(read_parquet(path, BEHAVIORS))
                yield Table("events", path, _behaviour_events(rows), bad)
            else:
                rows, bad = whole(read_parquet(path, ["user_id", *HISTORY.values()]))
                yield Table("events", path, _history_events(rows), bad)


def _behaviour_events(rows: pl.DataFrame) -> pl.DataFrame:
    shared = [
        pl.col("row"),
        pl.col("user_id"),
        pl.lit("news").alias("domain"),
        pl.col("impression_time").alias("timestamp"),
        pl.col("impression_id").cast(pl.String).alias("request_id"),
        pl.col("session_id").alias("ctx_session"),
        pl.col("device_type").alias("ctx_device"),
    ]
    in_view = pl.col("article_ids_inview")
    shown = rows.select(
        *shared,
        pl.lit("impression").alias("kind"),
        in_view.alias("item_id"),
        pl.int_ranges(in_view.list.len()).alias("position"),
        in_view,
    ).explode("item_id", "position")
    clicked = rows.select(
        *shared,
        pl.lit("click").alias("kind"),
        pl.col("article_ids_clicked").alias("item_id"),
        (pl.col("next_read_time") * 1000).alias("dwell_ms"),
        pl.col("next_scroll_percentage").alias("ctx_scroll"),
    ).explode("item_id")
    on_page = rows.filter(pl.col("article_id").is_not_null()).select(
        *shared,
        pl.lit("play").alias("kind"),
        pl.col("article_id").alias("item_id"),
        (pl.col("read_time") * 1000).alias("dwell_ms"),
        pl.col("scroll_percentage").alias("ctx_scroll"),
    )
    parts = [on_page, shown.drop("article_ids_inview"), clicked]
    events = pl.concat(parts, how="diagonal").filter(pl.col("item_id").is_not_null())
    return events.sort("row", maintain_order=True)


def _history_events(rows: pl.DataFrame) -> pl.DataFrame:
    lists = rows.select("row", "user_id", *(pl.col(old).alias(new) for new, old in HISTORY.items()))
    return lists.explode(*HISTORY).select(
        "row",
        "user_id",
        "item_id",
        pl.lit("news").alias("domain"),
        pl.lit("click").alias("kind"),
        pl.col("time").alias("timestamp"),
        (pl.col("read_time") * 1000).alias("dwell_ms"),
        pl.col("scroll").alias("ctx_scroll"),
    )
