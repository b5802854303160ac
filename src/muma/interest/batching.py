"""Windows of histories as training batches: similar lengths together, every position a target.

A window holds consecutive events of one user; the network reads all but its last event and at each
position predicts the next one. No prefix is expanded, so that an epoch reads each event once.

Shape: W windows, B windows of a batch, L positions, N targets of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.features.feature import Sequences
from muma.interest.histories import Histories, completion_quantiles, places
from muma.rng import derive

POOL = 32  # batches whose windows are sorted by length together


class BatchingConfig(Config):
    """How windows are cut and gathered.

    Attributes:
        length: L, the most events that the network reads in training; a model takes no more than its
            network's `max_length`.
        size: windows of a batch.
        windows: `newest` trains on the newest L targets of each user; `all` cuts older events into
            further windows, so that every event but a user's first is a target once an epoch;
            `shifted` moves the cuts of the older windows at random from epoch to epoch, so that
            events near the newest window may be targets twice.
    """

    length: int = Field(default=200, ge=1)
    size: int = Field(default=64, ge=1)
    windows: Literal["newest", "all", "shifted"] = "newest"


@dataclass(frozen=True)
class TrainingBatch:
    """What the network reads and what it must say.

    Attributes:
        sequences: inputs [B, L], padded on the left.
        at_B: int64 microseconds, time of each window's last target.
        user_B: int64 dense user indices.
        target_BL: int64 item to predict at each position, -1 where there is no target.
        completion_BL: float32 duration-conditional completion of the target, NaN when unknown.
        skipped_BL: int64 item that was shown with the target and not taken, -1 when there is none.
    """

    sequences: Sequences
    at_B: np.ndarray
    user_B: np.ndarray
    target_BL: np.ndarray
    completion_BL: np.ndarray
    skipped_BL: np.ndarray

    @property
    def targets(self) -> int:
        """Number of positions with a target."""
        return int((self.target_BL >= 0).sum())


class Batches:
    """All training batches of some histories; an epoch is a seeded order of them.

    Args:
        config: how to cut and gather.
        histories: the events.
        seed: of the order.
        target_E: bool [E], which events may be targets; None allows every one.

    Example:
        >>> from muma.interest.histories import histories
        >>> from muma.testing.logs import tiny_log
        >>> events = histories(tiny_log({0: [0, 1, 2], 1: [3]}))
        >>> [batch.target_BL.tolist() for batch in Batches(BatchingConfig(), events, seed=1).epoch(0)]
        [[[1, 2]]]
    """

    def __init__(
        self,
        config: BatchingConfig,
        histories: Histories,
        *,
        seed: int,
        target_E: np.ndarray | None = None,
    ) -> None:
        self.config = config
        self.histories = histories
        self.seed = seed
        self._target_E = np.ones(len(histories), dtype=bool) if target_E is None else target_E
        self._completion_E = completion_quantiles(histories.dwell_E, histories.duration_E)

    def __len__(self) -> int:
        """Batches of an epoch; with shifted windows, of the first."""
        return len(self.plan(0))

    def plan(self, epoch: int) -> list[np.ndarray]:
        """The windows of each batch in the order of training: arrays [B, 2] of first and last event."""
        window_W2 = self._windows(epoch)
        rng = derive(self.seed, "batches", epoch)
        order_W = rng.permutation(len(window_W2))
        size = self.config.size
        chunks = []
        for start in range(0, len(order_W), size * POOL):
            pool = order_W[start : start + size * POOL]
            length = window_W2[pool, 1] - window_W2[pool, 0]
            pool = pool[np.argsort(length, kind="stable")]
            chunks += [window_W2[pool[at : at + size]] for at in range(0, len(pool), size)]
        return [chunks[at] for at in rng.permutation(len(chunks))]

    def epoch(
        self, epoch: int, *, skip: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[TrainingBatch]:
        """Batches of one epoch.

        Args:
            epoch: its number, which decides the order.
            skip: steps of this epoch that are done already.
            rank: this process among `world`; each takes every `world`-th batch. The plan is filled
                up from its beginning, so that all take equally many steps.
            world: number of processes.
        """
        plan = self.plan(epoch)
        plan += plan[: -len(plan) % world]
        for window_B2 in plan[rank::world][skip:]:
            yield self.gather(window_B2)

    def steps(self, epoch: int, *, world: int = 1) -> int:
        """Optimiser steps of one epoch."""
        return -(-len(self.plan(epoch)) // world)

    def gather(self, window_B2: np.ndarray) -> TrainingBatch:
        """Cut the windows `first, last` (last exclusive, and a target) out of the histories."""
        events = self.histories
        first_B, last_B = window_B2[:, 0], window_B2[:, 1]
        length = int((last_B - first_B).max()) - 1
        sequences = events.cut(first_B, last_B - 1, length)
        place_BL, mask_BL = places(first_B + 1, last_B, length)
        wanted_BL = mask_BL & self._target_E[place_BL]
        return TrainingBatch(
            sequences,
            events.time_E[last_B - 1],
            events.user_E[first_B],
            np.where(wanted_BL, events.item_E[place_BL], -1),
            np.where(wanted_BL, self._completion_E[place_BL], np.nan).astype(np.float32),
            np.where(wanted_BL, events.skipped_E[place_BL], -1),
        )

    def _windows(self, epoch: int) -> np.ndarray:
        """First and last event of every window that has a target, int64 [W, 2]."""
        events, length = self.histories, self.config.length
        begin_U, end_U = events.indptr[:-1], events.indptr[1:]
        window_W2 = np.stack([np.maximum(begin_U, end_U - length - 1), end_U], axis=1)
        if self.config.windows != "newest":
            shift_U = np.full(len(end_U), length)
            if self.config.windows == "shifted":
                shift_U = derive(self.seed, "shift", epoch).integers(1, length + 1, len(end_U))
            parts, last_U = [window_W2], np.where(end_U - begin_U > length + 1, end_U - shift_U, 0)
            while (last_U - begin_U > 1).any():
                parts.append(np.stack([np.maximum(begin_U, last_U - length - 1), last_U], axis=1))
                last_U = last_U - length
            window_W2 = np.concatenate(parts)
        window_W2 = window_W2[window_W2[:, 1] - window_W2[:, 0] > 1]
        before_E = np.concatenate([[0], np.cumsum(self._target_E)])
        return window_W2[before_E[window_W2[:, 1]] > before_E[window_W2[:, 0] + 1]]
