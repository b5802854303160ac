"""From the stream to the store: read what has arrived, apply it, commit it with its offsets.

A step takes everything that waits, up to a bound: a few events when the load is light, hundreds of
thousands when it is heavy, so that the batch adapts by itself. While one batch is being committed in
a thread, the next one is read and applied. A kill at any moment loses nothing: the store holds a
prefix of each partition and its offset, and the stream holds the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.errors import StreamError
from muma.events.stream import EventStream, StreamBatch
from muma.features.online.engine import Engine
from muma.features.store import StateStore

FEW = 2_000  # events of a step that is committed in place


class PumpConfig(Config):
    """Pace.

    Attributes:
        most_at_once: most events in one step.
        idle_s: pause when nothing has arrived.
        expire_s: seconds between looks for keys whose state has gone out of reach.
        checkpoint_s: seconds between the store's copies that survive a power cut, if it makes any.
    """

    most_at_once: int = Field(default=200_000, ge=1)
    idle_s: float = Field(default=0.001, gt=0)
    expire_s: float = Field(default=60.0, gt=0)
    checkpoint_s: float = Field(default=60.0, gt=0)


@dataclass(frozen=True)
class Pulse:
    """How the pump is doing.

    Attributes:
        read: events of this step.
        events: events ever read into this state, over all runs.
        lag_events: events on disk that are not applied yet.
        lag_s: age, by time of arrival, of the newest applied event while others wait; else 0.
        late_dropped, duplicates, quarantined: as the engine counts them.
        version: commits of the store.
    """

    read: int
    events: int
    lag_events: int
    lag_s: float
    late_dropped: int
    duplicates: int
    quarantined: int
    version: int


class Pump:
    """Drives one engine over one stream into one store; the only writer of that store.

    Args:
        stream: where events come from.
        engine: built on `store`, so that it stands where the store does.
        store: where state goes.
        config: the pace.
        clock: UTC microseconds.
        checkpoint: makes a copy of the store that survives a power cut, run in a thread.
        retain: called after each such copy, to let go of what the stream need not keep.
    """

    def __init__(
        self,
        stream: EventStream,
        engine: Engine,
        store: StateStore,
        *,
        config: PumpConfig | None = None,
        clock: Callable[[], int],
        checkpoint: Callable[[], object] | None = None,
        retain: Callable[[], object] | None = None,
    ) -> None:
        self.config = config or PumpConfig()
        self._stream, self.engine, self._store = stream, engine, store
        self._clock, self._checkpoint, self._retain = clock, checkpoint, retain
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="muma-commit")
        self._copier = ThreadPoolExecutor(1, thread_name_prefix="muma-checkpoint")
        self._commit: Future[int] | None = None
        self._copy: Future[object] | None = None
        self._version = 0
        self._closed = False
        self._received = 0
        self._expired_at = self._copied_at = clock()

    def step(self) -> Pulse:
        """Apply and commit what waits; does not wait for more.

        Raises:
            StreamError: the stream is damaged, or no longer holds what the state needs next.
            StoreError: the state could not be written; what was committed stays, and a new engine
                on the store goes on from there.
        """
        if self.engine.must_commit:
            self.settle()
        batches = self._waiting()
        self.engine.apply_batches(batches)
        read = sum(batch.frame.height for batch in batches)
        for batch in batches:
            self._received = max(self._received, int(batch.frame.item(-1, "received_at")))
        now = self._clock()
        if now - self._expired_at > self.config.expire_s * 1e6:
            self._expired_at = now
            self.engine.expire()
        if read:
            self._hand_over(few=read < FEW)
        self._copy_now_and_then(now)
        return self._pulse(read, now)

    def run(
        self,
        *,
        follow: bool = False,
        stop: Callable[[], bool] = lambda: False,
        each: Callable[[Pulse], None] = lambda _: None,
    ) -> Pulse:
        """Step until the end of the stream, or with `follow` until `stop` says so.

        Args:
            follow: wait for more at the end.
            stop: asked between steps.
            each: told after each step.
        """
        pulse = self.step()
        each(pulse)
        while not stop():
            if not pulse.read:
                if not follow:
                    break
                self.settle()
                time.sleep(self.config.idle_s)
            pulse = self.step()
            each(pulse)
        return self.close()

    def settle(self) -> None:
        """Wait until everything that was applied is committed."""
        if self._commit is not None:
            self._version = self._commit.result()
            self._commit = None
            self.engine.confirm()

    def close(self) -> Pulse:
        """Expire, commit the rest and stop; safe to call twice."""
        if not self._closed:
            self._closed = True
            self.engine.expire()
            self._hand_over()
            self.settle()
            self._copied()
            self._committer.shutdown()
            self._copier.shutdown()
        return self._pulse(0, self._clock())

    def abandon(self) -> None:
        """Stop without writing, after a step that failed; what was committed stays. Safe to call twice."""
        self._closed = True
        self._commit = self._copy = None
        self._committer.shutdown()
        self._copier.shutdown()

    def lag(self) -> int:
        """Events on disk that are not applied yet."""
        done = self.engine.offsets
        return sum(end - done.get(p, 0) for p, end in self._stream.ends().items())

    def _waiting(self) -> list[StreamBatch]:
        """What has arrived, cut at one time of arrival, so that no partition runs ahead of another.

        Events of one item come from many partitions; a partition that ran hours ahead would make
        the others' events look late.
        """
        each = max(self.config.most_at_once // self._stream.partitions, 1)
        done, starts, ends = self.engine.offsets, self._stream.starts(), self._stream.ends()
        found: list[StreamBatch] = []
        cut: int | None = None
        for partition in range(self._stream.partitions):
            offset = done.get(partition, 0)
            if offset < starts.get(partition, 0):
                raise StreamError(
                    f"partition {partition}: the state needs offset {offset:,}, but the stream "
                    f"begins at {starts[partition]:,}; restore a newer state, or start a new one"
                )
            batch = self._stream.read(partition, offset, limit=each)
            if batch is None:
                continue
            found.append(batch)
            if batch.next_offset < ends.get(partition, 0):
                last = int(batch.frame.item(-1, "received_at"))
                cut = last if cut is None else min(cut, last)
        return found if cut is None else [part for b in found if (part := _until(b, cut))]

    def _hand_over(self, *, few: bool = False) -> None:
        self.settle()
        changes = self.engine.changes()
        if few:  # handing over to a thread would take longer than committing
            self._version = self._store.commit(changes)
            self.engine.confirm()
        else:
            self._commit = self._committer.submit(self._store.commit, changes)

    def _copy_now_and_then(self, now: int) -> None:
        if self._checkpoint is None or now - self._copied_at < self.config.checkpoint_s * 1e6:
            return
        if self._copy is not None and not self._copy.done():
            return
        self._copied()
        self._copied_at = now
        self._copy = self._copier.submit(self._checkpoint)

    def _copied(self) -> None:
        """Wait for the copy under way, if there is one."""
        if self._copy is not None:
            self._copy.result()
            self._copy = None
            if self._retain is not None:
                self._retain()

    def _pulse(self, read: int, now: int) -> Pulse:
        counted, waiting = self.engine.counters, self.lag()
        return Pulse(
            read,
            counted.events,
            waiting,
            max(now - self._received, 0) / 1e6 if waiting else 0.0,
            counted.late_dropped,
            counted.duplicates,
            counted.quarantined,
            self._version,
        )


def _until(batch: StreamBatch, cut: int) -> StreamBatch | None:
    """The events that arrived by `cut`; arrival times rise within a partition."""
    received = batch.frame.get_column("received_at").to_numpy()
    keep = int(np.searchsorted(received, cut, side="right"))
    return StreamBatch(batch.partition, batch.offset, batch.frame.head(keep)) if keep else None
