"""KuaiRand-Pure: short-video impressions with twelve feedback signals (Gao et al., CIKM 2022).

One log row becomes an impression and an event for each signal it carries, tied by `request_id`.
Traps of the data, and what happens to them:

- 4,739 rows repeat (user, video, time); equal events fall to the `duplicates` rule.
- 2,646 rows have `duration_ms` 0, which means unknown; the `impossible` rule mends them to null.
- `video_features_statistic_pure` sums up the whole month, the future included: never read.
- The 50-item history before the log has an order and no times: its events get the time of the
  user's last one minus 1 ms for each later one, and `time_inferred` is true.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from muma.config import Config
from muma.events.formats.parquet import parquet_columns, read_parquet
from muma.events.sources.adapter import Adapter, Table, found, whole

LOG = "log_standard_20220425_20220504.parquet"
PREHISTORY = "user_prehistory_until_20220424.parquet"
SIGNALS = {
    "click": "is_click",
    "long_view": "long_view",
    "like": "is_like",
    "comment": "is_comment",
    "share": "is_forward",
    "follow": "is_follow",
    "hide": "is_hate",
}
HISTORY = {"play": "watch_seq", "long_view": "long_watch_seq", "like": "like_seq"}


class KuaiRandConfig(Config):
    """Where the data set lies.

    Attributes:
        path: folder with the Parquet files.
        prehistory: also read the ordered history before the log.
    """

    path: str
    prehistory: bool = True


class KuaiRandPure(Adapter):
    """Reads the standard-policy log, the prehistory, users and videos."""

    def __init__(self, config: KuaiRandConfig) -> None:
        self.config = config
        self._names = [LOG, "video_features_basic_pure.parquet", "user_features_pure.parquet"]
        if config.prehistory:
            self._names.insert(1, PREHISTORY)

    def files(self) -> list[str]:
        """The Parquet files that are read."""
        return [str(found(self.config.path, name)) for name in self._names]

    def tables(self) -> Iterator[Table]:
        """Events of the log, of the prehistory, then videos and users."""
        paths = [Path(path) for path in self.files()]
        for path in paths:
            parquet_columns(path)  # a damaged file shows before anything is read
        for path in paths:
            frame, _ = whole(read_parquet(path, parquet_columns(path)))
            if path.name == LOG:
                yield Table("events", path, _log_events(frame))
            elif path.name == PREHISTORY:
                yield Table("events", path, _history_events(frame))
            elif path.name.startswith("video"):
                yield Table("items", path, _items(frame))
            else:
                attributes = [c for c in frame.columns if c not in ("user_id", "row")]
                users = frame.rename({c: f"attr_{c}" for c in attributes})
                yield Table("users", path, users)


def _log_events(log: pl.DataFrame) -> pl.DataFrame:
    request = pl.concat_str("user_id", "video_id", "time_ms", separator="-")
    base = log.select(
        "row",
        "user_id",
        pl.col("video_id").alias("item_id"),
        pl.lit("video").alias("domain"),
        (pl.col("time_ms") * 1000).alias("timestamp"),
        pl.col("duration_ms").alias("item_duration_ms"),
        request.alias("request_id"),
        pl.col("tab").alias("ctx_tab"),
        pl.col("play_time_ms"),
        *SIGNALS.values(),
    )
    shared = [c for c in base.columns if c not in ("play_time_ms", *SIGNALS.values())]
    kinds = [("impression", pl.lit(True), None), ("play", pl.col("play_time_ms") > 0, "dwell")]
    kinds += [(kind, pl.col(flag) == 1, None) for kind, flag in SIGNALS.items()]
    parts = [
        base.filter(which).select(
            *shared,
            pl.lit(kind).alias("kind"),
            (pl.col("play_time_ms") if dwell else pl.lit(None, pl.Int32)).alias("dwell_ms"),
            pl.lit(order, pl.Int8).alias("order"),
        )
        for order, (kind, which, dwell) in enumerate(kinds)
    ]
    return pl.concat(parts).sort("row", "order", maintain_order=True).drop("order")


def _history_events(history: pl.DataFrame) -> pl.DataFrame:
    parts = []
    for kind, column in HISTORY.items():
        rows = history.filter(pl.col(column).list.len() > 0).select(
            "row",
            "user_id",
            "last_time_ms",
            pl.col(column).alias("item_id"),
            pl.int_ranges(pl.col(column).list.len()).list.reverse().alias("later"),
        )
        parts.append(
            rows.explode("item_id", "later").select(
                "row",
                "user_id",
                pl.col("item_id").cast(pl.Int32),
                pl.lit("video").alias("domain"),
                pl.lit(kind).alias("kind"),
                ((pl.col("last_time_ms") - pl.col("later")) * 1000).alias("timestamp"),
                pl.lit(True).alias("time_inferred"),
            )
        )
    return pl.concat(parts).sort("timestamp", maintain_order=True)


def _items(videos: pl.DataFrame) -> pl.DataFrame:
    tags = pl.col("tag").str.split(",").list.eval(pl.lit("tag ") + pl.element())
    published = pl.col("upload_dt").str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    extra = ["upload_type", "visible_status", "server_width", "server_height", "music_id"]
    return videos.select(
        "row",
        pl.col("video_id").alias("item_id"),
        pl.when(pl.col("video_type") == "AD")
        .then(pl.lit("ad"))
        .otherwise(pl.lit("video"))
        .alias("domain"),
        tags.alias("tags"),
        tags.list.first().alias("category"),
        pl.col("author_id").cast(pl.String).alias("author"),
        published.dt.timestamp("us").alias("published_at"),
        pl.col("video_duration").cast(pl.Int32, strict=False).alias("duration_ms"),
        *(pl.col(name).alias(f"attr_{name}") for name in extra),
    )
