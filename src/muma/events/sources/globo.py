"""Globo.com news clicks (Moreira et al., DLRS 2018), a Parquet file or a folder of them.

The last click of every session lies exactly 30.000 s after the one before: the source made that
time up. It is marked `time_inferred`, and the gap before it is never taken for reading time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from muma.config import Config
from muma.events.formats.parquet import read_parquet
from muma.events.sources.adapter import Adapter, Table, whole
from muma.events.sources.files import expand

CONTEXT = ("environment", "deviceGroup", "os", "country", "region", "referrer_type")
COLUMNS = ["user_id", "session_id", "click_article_id", "click_timestamp"]
MADE_UP_GAP_MS = 30_000


class GloboConfig(Config):
    """Where the data set lies, and what is inferred.

    Attributes:
        path: Parquet file, folder or glob.
        dwell_from_gaps: take the time to the next click as dwell, where both times are true ones;
            it includes time away from the site.
    """

    path: str
    dwell_from_gaps: bool = False


class GloboClicks(Adapter):
    """Reads news clicks with their session context."""

    def __init__(self, config: GloboConfig) -> None:
        self.config = config

    def files(self) -> list[str]:
        """The Parquet files that are read."""
        return [str(path) for path in expand([self.config.path])]

    def tables(self) -> Iterator[Table]:
        """Clicks of each file."""
        for name in self.files():
            path = Path(name)
            wanted = [*COLUMNS, *(f"click_{c}" for c in CONTEXT)]
            rows, bad = whole(read_parquet(path, wanted))
            yield Table("events", path, self._events(rows), bad)

    def _events(self, rows: pl.DataFrame) -> pl.DataFrame:
        time = pl.col("click_timestamp")
        gap_after = time.shift(-1).over("session_id", order_by="click_timestamp") - time
        gap_before = time - time.shift(1).over("session_id", order_by="click_timestamp")
        rows = rows.with_columns(after=gap_after, before=gap_before)
        last = pl.col("after").is_null()
        made_up = (last & (pl.col("before") == MADE_UP_GAP_MS)).fill_null(False)
        next_made_up = (pl.col("after") == MADE_UP_GAP_MS).fill_null(False)
        dwell = (
            pl.when(~next_made_up).then(pl.col("after")) if self.config.dwell_from_gaps else None
        )
        columns = [
            pl.col("row"),
            pl.col("user_id"),
            pl.col("click_article_id").alias("item_id"),
            pl.lit("news").alias("domain"),
            pl.lit("click").alias("kind"),
            (time.cast(pl.Int64) * 1000).alias("timestamp"),
            made_up.alias("time_inferred"),
            pl.col("session_id").alias("ctx_session"),
            *(pl.col(f"click_{c}").alias(f"ctx_{c}") for c in CONTEXT),
        ]
        if dwell is not None:
            columns.append(dwell.alias("dwell_ms"))
        return rows.select(columns)
