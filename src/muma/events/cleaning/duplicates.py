"""Exact duplicates: rows equal in every column but their place in the file; the first one stays."""

from __future__ import annotations

import numpy as np
import polars as pl

from muma.events.cleaning.rule import Removal, RuleConfig, Unfitted, Verdict

PLACE = ("file", "row")


class DuplicatesConfig(RuleConfig):
    """Nothing to set but the switch."""


class Duplicates(Unfitted):
    """Remove all but the first of equal rows.

    Equal rows have equal times, so only rows that share their time with a neighbour are compared;
    the comparison itself is exact, on every column.
    """

    name = "duplicates"

    def __init__(self, config: DuplicatesConfig = DuplicatesConfig()) -> None:
        self.config = config

    def apply(self, bucket: pl.DataFrame) -> Verdict:
        """Judge one bucket."""
        time = bucket.get_column("timestamp").to_numpy()
        same = np.zeros(len(time) + 1, dtype=bool)
        same[1:-1] = time[1:] == time[:-1]
        at = np.flatnonzero(same[:-1] | same[1:])
        if not len(at):
            return Verdict(bucket)
        columns = [c for c in bucket.columns if c not in PLACE]
        first = bucket.select(columns)[at].select(~pl.struct(columns).is_first_distinct())
        repeated = first.to_series().to_numpy()
        if not repeated.any():
            return Verdict(bucket)
        remove = np.zeros(len(time), dtype=bool)
        remove[at[repeated]] = True
        removal = Removal(remove, "timestamp", "repeats an earlier row in every column")
        return Verdict(bucket, (removal,))
