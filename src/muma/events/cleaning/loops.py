"""Plays longer than the item: loops. They are real behaviour, so they stay, marked `looped`."""

from __future__ import annotations

import polars as pl
from pydantic import Field

from muma.events.cleaning.rule import RuleConfig, Unfitted, Verdict


class LoopsConfig(RuleConfig):
    """When a play counts as a loop.

    Attributes:
        slack: dwell over item duration above which the play is a loop.
    """

    slack: float = Field(default=1.0, gt=0)


class Loops(Unfitted):
    """Mark plays that outlast their item."""

    name = "loops"

    def __init__(self, config: LoopsConfig = LoopsConfig()) -> None:
        self.config = config

    def apply(self, bucket: pl.DataFrame) -> Verdict:
        """Judge one bucket."""
        if not {"dwell_ms", "item_duration_ms"} <= set(bucket.columns):
            return Verdict(bucket)
        longer = pl.col("dwell_ms") > pl.col("item_duration_ms") * self.config.slack
        known = pl.col("dwell_ms").is_not_null() & (pl.col("item_duration_ms") > 0)
        marked = bucket.with_columns(looped=pl.when(known).then(longer))
        return Verdict(marked, changed=int(marked.get_column("looped").sum() or 0))
