"""Bots: users who act faster than a person can.

A user with more than `max_per_minute` events in one minute loses that minute's events; after
`strikes` such minutes everything that follows is removed too. Nothing earlier is touched, so the
rule never looks ahead. Events with `time_inferred` have no true rate: they neither count nor go.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from pydantic import Field

from muma.events.cleaning.rule import Removal, RuleConfig, Unfitted, Verdict
from muma.events.runs import MINUTE


class BotsConfig(RuleConfig):
    """Rates no human reaches.

    Attributes:
        max_per_minute: events of one user in one minute, of all kinds but impressions.
        max_impressions_per_minute: impressions of one user in one minute.
        strikes: minutes over a limit after which the user is a bot for the rest of the log.
    """

    max_per_minute: int = Field(default=120, ge=0)
    max_impressions_per_minute: int = Field(default=1_200, ge=0)
    strikes: int = Field(default=3, gt=0)


class Bots(Unfitted):
    """Remove the events of users who act at inhuman rates."""

    name = "bots"

    def __init__(self, config: BotsConfig = BotsConfig()) -> None:
        self.config = config
        self._strikes: dict[int, int] = {}
        self._banned: set[int] = set()

    def apply(self, bucket: pl.DataFrame) -> Verdict:
        """Judge one bucket."""
        user = bucket.get_column("user_id").to_numpy()
        counts = np.bincount(user)
        limit = min(self.config.max_per_minute, self.config.max_impressions_per_minute)
        suspects = np.flatnonzero(counts > limit)
        wanted = np.zeros(len(counts), dtype=bool)
        wanted[suspects] = True
        wanted[[u for u in self._banned if u < len(counts)]] = True
        at = np.flatnonzero(wanted[user])
        if not len(at):
            return Verdict(bucket)
        rows = bucket.select("user_id", "timestamp", "kind", *_present(bucket, "time_inferred"))[at]
        if "time_inferred" in rows.columns:
            trusted = rows.get_column("time_inferred").fill_null(False).to_numpy()
            at, rows = at[~trusted], rows.filter(~pl.col("time_inferred").fill_null(False))
        rows = rows.with_columns(
            minute=pl.col("timestamp") // MINUTE, shown=pl.col("kind") == "impression"
        )
        shown = pl.col("shown").sum().over("user_id", "minute")
        total = pl.len().over("user_id", "minute")
        over = rows.select(
            (shown > self.config.max_impressions_per_minute)
            | (total - shown > self.config.max_per_minute)
        ).to_series()
        fast = over.to_numpy() | self._banned_from(rows, over)
        remove = np.zeros(bucket.height, dtype=bool)
        remove[at[fast]] = True
        reason = (
            f"a user with more than {self.config.max_per_minute} events, or "
            f"{self.config.max_impressions_per_minute} impressions, a minute: no human rate"
        )
        return Verdict(bucket, (Removal(remove, "user_id", reason),) if fast.any() else ())

    def _banned_from(self, rows: pl.DataFrame, over: pl.Series) -> np.ndarray:
        """Rows of users who are banned before the row's minute; updates the state."""
        banned = rows.get_column("user_id").is_in(list(self._banned)).to_numpy().copy()
        minutes = rows.filter(over).select("user_id", "minute").unique().sort("minute")
        user = rows.get_column("user_id").to_numpy()
        minute = rows.get_column("minute").to_numpy()
        for who, when in minutes.iter_rows():
            self._strikes[who] = self._strikes.get(who, 0) + 1
            if self._strikes[who] >= self.config.strikes and who not in self._banned:
                self._banned.add(who)
                banned |= (user == who) & (minute > when)
        return banned


def _present(frame: pl.DataFrame, *names: str) -> list[str]:
    return [name for name in names if name in frame.columns]
