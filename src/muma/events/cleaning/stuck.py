"""Stuck clients: the same event sent again and again, as a player that never stops reporting."""

from __future__ import annotations

import numpy as np
import polars as pl
from pydantic import Field

from muma.events.cleaning.rule import Removal, RuleConfig, Unfitted, Verdict
from muma.events.runs import MINUTE

FREE = ("timestamp", "dwell_ms", "position", "request_id", "file", "row")  # may differ


class StuckConfig(RuleConfig):
    """How much repetition is a fault.

    Attributes:
        max_repeats: events in one minute, equal in all but time, dwell, position and request, that
            are still believed.
    """

    max_repeats: int = Field(default=20, ge=0)


class Stuck(Unfitted):
    """Keep the first of a minute's repeated events, remove the rest."""

    name = "stuck"

    def __init__(self, config: StuckConfig = StuckConfig()) -> None:
        self.config = config

    def apply(self, bucket: pl.DataFrame) -> Verdict:
        """Judge one bucket."""
        user = bucket.get_column("user_id").to_numpy()
        at = np.flatnonzero((np.bincount(user) > self.config.max_repeats)[user])
        if not len(at):
            return Verdict(bucket)
        if "time_inferred" in bucket.columns:
            trusted = ~bucket.get_column("time_inferred").fill_null(False).to_numpy()
            at = at[trusted[at]]
        minute = (pl.col("timestamp") // MINUTE).alias("minute")
        few = ["user_id", "item_id", "kind", "minute"]
        often = pl.len().over(few) > self.config.max_repeats
        pairs = bucket.select("user_id", "item_id", "kind", minute)[at].select(often).to_series()
        at = at[pairs.to_numpy()]  # the full comparison is dear, and seldom needed
        key = [c for c in bucket.columns if c not in FREE]
        rows = bucket.select(*key, minute)[at]
        key = [*key, "minute"]
        many = rows.select(
            (pl.len().over(key) > self.config.max_repeats) & ~pl.struct(key).is_first_distinct()
        )
        stuck = many.to_series().to_numpy()
        if not stuck.any():
            return Verdict(bucket)
        remove = np.zeros(bucket.height, dtype=bool)
        remove[at[stuck]] = True
        reason = f"the same event more than {self.config.max_repeats} times in a minute"
        return Verdict(bucket, (Removal(remove, "item_id", reason),))
