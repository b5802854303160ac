"""The door of an event stream: a bounded queue whose writers are told when to come back.

Senders hand in frames from any thread. One thread writes what has gathered in one append, so that
many small requests share a write to disk; each sender's future is done when its events are on disk.
Nothing is dropped: a frame is taken whole, or refused with `RetryLater`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

import polars as pl
from pydantic import Field

from muma.config import Config
from muma.errors import DataError, MumaError, RetryLater, StreamError
from muma.events.stream import EventStream

SHORTEST, LONGEST = 0.05, 30.0  # seconds that a sender is asked to wait
START_RATE = 50_000.0  # events a second assumed before anything was measured


class IntakeConfig(Config):
    """Bounds of the queue.

    Attributes:
        queue_events: events that may wait to be written.
        lag_events: events that may be written and wait for the engine.
        most_at_once: most events in one append.
    """

    queue_events: int = Field(default=100_000, ge=1)
    lag_events: int = Field(default=5_000_000, ge=1)
    most_at_once: int = Field(default=50_000, ge=1)


class Intake:
    """Appends to a stream from a thread of its own; close it to write what waits.

    Args:
        stream: where to.
        config: the bounds.
        clock: UTC microseconds, for `received_at`.
        lag: events that the engine has not applied yet; None when nobody reads here.
    """

    def __init__(
        self,
        stream: EventStream,
        *,
        config: IntakeConfig | None = None,
        clock: Callable[[], int],
        lag: Callable[[], int] | None = None,
    ) -> None:
        self.config = config or IntakeConfig()
        self._stream, self._clock, self._lag = stream, clock, lag
        self._waiting: deque[tuple[pl.DataFrame, Future[dict[int, int]]]] = deque()
        self._events = 0
        self._rate = START_RATE
        self._closed = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._write, name="muma-intake", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Events in the queue."""
        return self._events

    def submit(self, frame: pl.DataFrame) -> Future[dict[int, int]]:
        """Take a frame of events with raw ids (see `EventStream.append`).

        Returns:
            A future that is done when the events are on disk, with the partitions' new ends; it
            fails with the append's own error, for instance `DataError` for a bad row.

        Raises:
            RetryLater: the queue or the engine's backlog is full; nothing was taken.
            StreamError: the intake is closed.
            DataError: the frame alone is larger than the queue.
        """
        height = frame.height
        if height > self.config.queue_events:
            raise DataError(
                f"{height:,} events at once are more than the queue of "
                f"{self.config.queue_events:,}; send them in pieces"
            )
        behind = self._lag() if self._lag else 0
        with self._change:
            if self._closed:
                raise StreamError("the intake is closed; nothing was taken")
            if behind > self.config.lag_events:
                raise RetryLater(
                    f"{behind:,} events wait for the engine", after_s=self._pause(behind)
                )
            if self._events + height > self.config.queue_events:
                raise RetryLater(
                    f"{self._events:,} events wait to be written", after_s=self._pause(self._events)
                )
            done: Future[dict[int, int]] = Future()
            self._waiting.append((frame, done))
            self._events += height
            self._change.notify_all()
        return done

    def close(self) -> None:
        """Write what waits, then stop; safe to call twice."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        self._thread.join()

    def _pause(self, events: int) -> float:
        return min(max(events / self._rate, SHORTEST), LONGEST)

    def _write(self) -> None:
        while True:
            with self._change:
                while not self._waiting and not self._closed:
                    self._change.wait()
                if not self._waiting:
                    return
                taken = [self._waiting.popleft()]
                height = taken[0][0].height
                while (
                    self._waiting
                    and height + self._waiting[0][0].height <= self.config.most_at_once
                ):
                    taken.append(self._waiting.popleft())
                    height += taken[-1][0].height
            began = self._clock()
            live = [one for one in taken if one[1].set_running_or_notify_cancel()]
            if live:
                self._append(live)
            seconds = max(self._clock() - began, 1) / 1e6
            with self._change:
                self._events -= height
                self._rate = 0.8 * self._rate + 0.2 * height / seconds
                self._change.notify_all()

    def _append(self, taken: list[tuple[pl.DataFrame, Future[dict[int, int]]]]) -> None:
        """One append for all; when it is refused, one each, so that a bad frame fails alone."""
        frames = [frame for frame, _ in taken]
        try:
            whole = frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal")
            ends = self._stream.append(whole, received_at=self._clock())
        except (MumaError, pl.exceptions.PolarsError) as error:
            if len(taken) > 1 and not isinstance(error, StreamError):
                for one in taken:
                    self._append([one])
                return
            for _, done in taken:
                done.set_exception(error)
            return
        except BaseException as error:
            for _, done in taken:
                done.set_exception(error)
            raise
        for _, done in taken:
            done.set_result(ends)
