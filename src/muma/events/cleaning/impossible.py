"""Values that cannot be: events from the future or before the web, dwell longer than a day.

An item duration of zero means "unknown" in the logs that have it; it is mended to null.
"""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
from pydantic import field_validator

from muma.events.cleaning.rule import Removal, RuleConfig, Unfitted, Verdict

DAY_MS = 86_400_000


class ImpossibleConfig(RuleConfig):
    """Bounds of the possible.

    Attributes:
        not_before: earliest possible event, ISO 8601, UTC unless it names an offset.
        future_tolerance_s: how far ahead of the clock an event may lie, in seconds.
        max_dwell_ms: longest possible dwell.
        max_item_duration_ms: longest possible item.
    """

    not_before: str = "1990-01-01T00:00:00"
    future_tolerance_s: float = 300.0
    max_dwell_ms: int = DAY_MS
    max_item_duration_ms: int = 7 * DAY_MS

    @field_validator("not_before")
    @classmethod
    def _is_a_time(cls, value: str) -> str:
        datetime.fromisoformat(value)
        return value


class Impossible(Unfitted):
    """Remove impossible times and dwells, mend impossible durations to null."""

    name = "impossible"

    def __init__(
        self, config: ImpossibleConfig = ImpossibleConfig(), *, now_us: int | None = None
    ) -> None:
        self.config = config
        start = datetime.fromisoformat(config.not_before)
        start = start if start.tzinfo else start.replace(tzinfo=UTC)
        self._first = int(start.timestamp()) * 1_000_000
        self._last = None if now_us is None else now_us + int(config.future_tolerance_s * 1e6)

    def apply(self, bucket: pl.DataFrame) -> Verdict:
        """Judge one bucket."""
        time = bucket.get_column("timestamp").to_numpy()
        early = f"before {self.config.not_before}; is the time unit right?"
        found = [Removal(time < self._first, "timestamp", early)]
        if self._last is not None:
            late = "later than now; is the time unit right?"
            found.append(Removal(time > self._last, "timestamp", late))
        if "dwell_ms" in bucket.columns:
            long = (bucket.get_column("dwell_ms") > self.config.max_dwell_ms).fill_null(False)
            reason = f"dwell above {self.config.max_dwell_ms} ms"
            found.append(Removal(long.to_numpy(), "dwell_ms", reason))
        changed = 0
        if "item_duration_ms" in bucket.columns:
            duration = pl.col("item_duration_ms")
            odd = (duration <= 0) | (duration > self.config.max_item_duration_ms)
            changed = int(bucket.select(odd.sum()).item())
            if changed:
                bucket = bucket.with_columns(pl.when(~odd).then(duration))
        return Verdict(bucket, tuple(r for r in found if r.remove_R.any()), changed)
