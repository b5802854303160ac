"""Who follows whom, turned round: an event of a user is written to everybody who follows them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from muma.events.event import EventLog

ALWAYS = -(2**62)


@dataclass(frozen=True)
class Followers:
    """Followers by user, as a compressed table; an edge counts from `since` on.

    Shape:
        start_U: int64 [U + 1]; follower_E, since_E: int64 [E], since in microseconds.
    """

    start_U: np.ndarray
    follower_E: np.ndarray
    since_E: np.ndarray

    @classmethod
    def nobody(cls) -> Followers:
        """A world without edges."""
        none = np.zeros(0, dtype=np.int64)
        return cls(np.zeros(1, dtype=np.int64), none, none)

    @classmethod
    def of(cls, log: EventLog) -> Followers:
        """The edges of a log: `src` follows `dst`; of repeated edges the earliest counts."""
        edges = (
            log.social.select(
                pl.col("dst").cast(pl.Int64),
                pl.col("src").cast(pl.Int64),
                pl.col("since").fill_null(ALWAYS),
            )
            .filter(pl.col("src") != pl.col("dst"))
            .group_by("dst", "src")
            .agg(pl.col("since").min())
            .sort("dst", "src")
            .collect()
        )
        dst, src, since = (edges.get_column(name).to_numpy() for name in ("dst", "src", "since"))
        n_users = max(log.n_users, int(dst.max(initial=-1)) + 1)
        start = np.searchsorted(dst, np.arange(n_users + 1)).astype(np.int64)
        return cls(start, src.astype(np.int64), since.astype(np.int64))

    def spread(self, user_N: np.ndarray, time_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (event, follower) for every event and everybody who followed its user by then.

        Args:
            user_N: users, int64, -1 for none.
            time_N: times, int64 microseconds.

        Returns:
            int64 event places [M], in order, and int64 followers [M].
        """
        known = (user_N >= 0) & (user_N < len(self.start_U) - 1)
        safe = np.where(known, user_N, 0)
        if len(self.start_U) < 2:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        first = self.start_U[safe]
        degree = np.where(known, self.start_U[safe + 1] - first, 0)
        event = np.repeat(np.arange(len(user_N), dtype=np.int64), degree)
        within = np.arange(len(event), dtype=np.int64) - np.repeat(
            np.cumsum(degree) - degree, degree
        )
        edge = np.repeat(first, degree) + within
        live = self.since_E[edge] <= time_N[event]
        return event[live], self.follower_E[edge[live]]
