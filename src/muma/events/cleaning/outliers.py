"""Outlier rules share this: per kind of event, dwell outside learned bounds is removed.

Dwell is heavy-tailed, so bounds are learned on log(1 + dwell), on the earliest share of the log
only. A subclass says how: `bounds(x) -> (low, high)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import polars as pl

from muma.events.cleaning.rule import Removal, Verdict

FEWEST = 30  # below this many values, no bounds are learned


class DwellOutliers(ABC):
    """Base of the outlier rules on `dwell_ms`."""

    name = "outliers"
    fit_columns: Sequence[str] = ("kind", "dwell_ms")

    def __init__(self) -> None:
        self.limits: dict[str, tuple[float, float]] = {}  # of log(1 + dwell), by kind

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
                self.limits[str(kind)] = self.bounds(values)

    def apply(self, bucket: pl.DataFrame) -> Verdict:
        """Judge one bucket."""
        if not self.limits or "dwell_ms" not in bucket.columns:
            return Verdict(bucket)
        dwell = bucket.get_column("dwell_ms").cast(pl.Float64).fill_null(float("nan")).to_numpy()
        x = np.log1p(dwell)
        removals = []
        for kind, (low, high) in self.limits.items():
            outside = (x < low) | (x > high)  # false for NaN
            if outside.any():
                outside &= (bucket.get_column("kind") == kind).to_numpy()
            if outside.any():
                shown = f"{np.expm1(low):,.0f} to {np.expm1(high):,.0f} ms"
                reason = f"outside the learned range of a {kind}, {shown}"
                removals.append(Removal(outside, "dwell_ms", reason))
        return Verdict(bucket, tuple(removals))
