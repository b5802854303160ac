"""Outlier rules share this: per kind of event, dwell outside learned bounds is removed.

Dwell is heavy-tailed, so bounds are learned on log(1 + dwell), on the earliest share of the log
only. A subclass says how: `bounds(x) -> (low, high)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import polars as pl

from muma.events.cleaning.rule import Verdict

FEWEST = 30  # below this many values, no bounds are learned


class DwellOutliers(ABC):
    """Base of the outlier rules on `dwell_ms`."""

    name = "outliers"
    fit_columns: Sequence[str] = ("kind", "dwell_ms")

    def __init__(self) -> None:
        self.limits: dict[str, tuple[float, float]] = {}

    @abstractmethod
    def bounds(self, log_dwell: np.ndarray) -> tuple[float, float]:
        """Lowest and highest believable value of log(1 + dwell in ms), shape [n] -> two numbers."""

    def fit(self, early: pl.DataFrame) -> None:
        """Learn the bounds of every kind that has values enough."""
        self.limits = {}
        if "dwell_ms" not in early.columns:
            return
        known = early.filter(pl.col("dwell_ms").is_not_null())
        for (kind,), rows in known.group_by(["kind"]):
            values = np.log1p(rows.get_column("dwell_ms").to_numpy().astype(np.float64))
            if len(values) >= FEWEST:
                low, high = self.bounds(values)
                self.limits[str(kind)] = (np.expm1(low), np.expm1(high))

    def apply(self, bucket: pl.DataFrame) -> Verdict:
        """Judge one bucket."""
        if not self.limits or "dwell_ms" not in bucket.columns:
            return Verdict(bucket)
        dwell, outside = pl.col("dwell_ms"), pl.lit(False)
        for kind, (low, high) in self.limits.items():
            outside = outside | ((pl.col("kind") == kind) & ((dwell < low) | (dwell > high)))
        remove = bucket.select(outside.fill_null(False).alias("remove")).to_series().to_numpy()
        if not remove.any():
            return Verdict(bucket)
        shown = "; ".join(f"{k}: {a:,.0f} to {b:,.0f}" for k, (a, b) in self.limits.items())
        return Verdict(bucket, remove, "dwell_ms", f"outside the learned range in ms ({shown})")
