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
MOST = 2_000_000  # above this many values, an even sample of them is enough


class DwellOutliers(ABC):
    """Base of the outlier rules on `dwell_ms`."""

    name = "outliers"
    fit_columns: Sequence[str] = ("kind", "dwell_ms")

    def __init__(self) -> None:
        self.limits: dict[str, tuple[float, float]] = {}  # lowest and highest dwell in ms, by kind

    @abstractmethod
    def bounds(self, log_dwell: np.ndarray) -> tuple[float, float]:
        """Lowest and highest believable value of log(1 + dwell in ms), shape [n] -> two numbers."""

    def fit(self, early: pl.DataFrame) -> None:
        """Learn the bounds of every kind that has values enough."""
        self.limits = {}
        if "dwell_ms" not in early.columns:
            return
        known = early.filter(pl.col("dwell_ms").is_not_null())
        known = known.gather_every(max(1, -(-known.height // MOST)))
        for (kind,), rows in known.group_by(["kind"]):
            values = np.log1p(rows.get_column("dwell_ms").to_numpy().astype(np.float64))
            if len(values) >= FEWEST:
                self.limits[str(kind)] = in_milliseconds(*self.bounds(values))

    def apply(self, bucket: pl.DataFrame) -> Verdict:
        """Judge one bucket."""
        if not self.limits or "dwell_ms" not in bucket.columns:
            return Verdict(bucket)
        dwell = bucket.get_column("dwell_ms")
        least, most = dwell.min(), dwell.max()
        removals = []
        for kind, (low, high) in self.limits.items():
            if least is None or (least >= low and most <= high):  # pyright: ignore[reportOperatorIssue]
                continue
            far = (pl.col("dwell_ms") < low) | (pl.col("dwell_ms") > high)
            outside = bucket.select((far & (pl.col("kind") == kind)).fill_null(False)).to_series()
            if outside.any():
                reason = f"outside the learned range of a {kind}, {low:,.0f} to {high:,.0f} ms"
                removals.append(Removal(outside.to_numpy(), "dwell_ms", reason))
        return Verdict(bucket, tuple(removals))


def in_milliseconds(low: float, high: float) -> tuple[float, float]:
    """Lowest and highest whole dwell whose log(1 + dwell) lies in [low, high]; inf stays.

    Example:
        >>> in_milliseconds(float(np.log1p(3)), float(np.log1p(9)))
        (3.0, 9.0)
    """
    least, most = np.ceil(np.expm1(low)) - 1, np.floor(np.expm1(high)) + 1
    while np.isfinite(least) and np.log1p(max(least, 0)) < low:  # rounding may be one off
        least += 1
    while np.isfinite(most) and most >= 0 and np.log1p(most) > high:
        most -= 1
    return float(max(least, 0)), float(most)
