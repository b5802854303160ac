"""The online side of a service: event stream, feature state, and the process that keeps the state up to date.

This process takes events in and reads the state; another one, its pump, reads the events and writes the state
(`pumping`). Erasure pauses the pump: meanwhile answers do without the store, and events go on coming in.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from muma.app.config import AppConfig
from muma.app.features import open_world
from muma.app.service.pump_process import PumpProcess
from muma.app.service.pump_wire import Report
from muma.app.streaming import begin, open_events, state_folder
from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.errors import StoreError
from muma.events.vocabulary import Vocabulary
from muma.features.online.intake import Intake, IntakeConfig
from muma.features.online.reader import FeatureReader
from muma.features.store import StateStore
from muma.serving.bundle import Bundle
from muma.serving.facts import ItemFacts
from muma.serving.reading import HIDDEN, Known, LiveReader


class Running:
    """Opened stream and state, and the pump's process.

    Args:
        config: the recipe.
        clock: UTC microseconds.
        until: events of the recipe's log from this moment on are not fed; None feeds all.
        pump: a process that was started before, so that it loads while others do; None starts one.

    Attributes:
        world: features, log and catalogue of the recipe.
        stream: the events, open for writing.
        intake: takes events in.
        pump: keeps the state up to date.
        on_step: called when the state holds more events.
        turns: of those who change what is stored of somebody.

    Raises:
        StreamError, StoreError: another process writes here, or something is damaged.
    """

    def __init__(
        self,
        config: AppConfig,
        *,
        clock: Callable[[], int],
        until: int | None = None,
        pump: PumpProcess | None = None,
    ) -> None:
        self.config = config
        self.turns = threading.Lock()
        self.on_step: Callable[[], object] = lambda: None
        self._reading = 0  # answers that are in the store just now
        self._change = threading.Condition()
        self._store: LmdbStore | None = None
        self._reader: LiveReader | None = None
        self.pump = PumpProcess(config) if pump is None else pump
        try:
            self.world = open_world(config, now_us=clock())
            self.stream = open_events(config, self.world.log)
        except BaseException:
            self.pump.close()
            raise
        try:
            begin(config, self.stream, self.world.log, until=until)
            self.pump.acknowledged = self.stream.acknowledged
            self.pump.heard = self._heard
            self.pump.open(lambda report: report.settled and not self.lag())
        except BaseException:
            self._release()
            raise
        section = config.stream
        bounds = IntakeConfig(
            queue_events=section.queue_events, lag_events=section.lag_events,
            most_at_once=min(section.most_at_once, section.queue_events),
        )  # fmt: skip
        self.intake = Intake(self.stream, config=bounds, clock=clock, lag=self.lag)

    def wake(self) -> None:
        """Say that events have come."""
        self.pump.wake()

    def lag(self) -> int:
        """Events on disk that are not applied yet."""
        done = self.pump.applied
        return sum(end - done.get(p, 0) for p, end in self.stream.ends().items())

    def users(self) -> Vocabulary:
        """Raw ids of users, as they stand now."""
        return self.stream.user_ids

    def items(self) -> Vocabulary:
        """Raw ids of items, likewise."""
        return self.stream.item_ids

    def trouble(self) -> str | None:
        """Why features are not kept up to date; None when they are."""
        return self.pump.trouble or (None if self.is_open else "paused")

    # what `muma.serving.reading.LiveReader` offers, while the store is open

    def known(self, bundle: Bundle, user: int, at: int, off: Sequence[str] = ()) -> Known:
        """See `LiveReader.known`."""
        with self._open_reader() as reader:
            return reader.known(bundle, user, at, off)

    def features(
        self, user: int, item_N: np.ndarray, at: int, off: Sequence[str] = ()
    ) -> np.ndarray:
        """See `LiveReader.features`."""
        with self._open_reader() as reader:
            return reader.features(user, item_N, at, off)

    def told(self, bundle: Bundle, user: int, facts: ItemFacts) -> dict[str, object]:
        """See `LiveReader.told`."""
        with self._open_reader() as reader:
            return reader.told(bundle, user, facts)

    def newest(self) -> int:
        """Newest event time that the features have seen, microseconds.

        Raises:
            StoreError: the store is paused.
        """
        with self._open_reader() as reader:
            return reader.newest()

    @property
    def is_open(self) -> bool:
        """Whether the state can be read: not while an erasure has it, nor after the end."""
        return self._reader is not None

    @contextmanager
    def paused(self) -> Iterator[StateStore]:
        """The state alone, with no engine on it; `resume` afterwards."""
        self.pump.pause()
        self._close_reader()
        store = LmdbStore(LmdbConfig(path=str(state_folder(self.config))))
        try:
            yield store
        finally:
            store.close()

    def resume(self) -> None:
        """Go on after `paused`; does nothing when all is open."""
        if not self.is_open:
            self.pump.open(lambda report: report.settled)

    def close(self) -> None:
        """Write what waits, apply it, and release everything; safe to call twice."""
        self.intake.close()
        self._release()

    def _release(self) -> None:
        self.pump.close()
        self._close_reader()
        self.stream.close()

    def _heard(self, report: Report) -> None:
        """A report of the pump: the store may be there to be read now, or hold more."""
        if report.state == "open" and self._reader is None:
            self._read()
        if report.durable is not None:
            self.stream.drop_before(report.durable)
        if report.read:
            self.on_step()

    def _read(self) -> None:
        folder = str(state_folder(self.config))
        store = LmdbStore(LmdbConfig(path=folder, readonly=True))
        plan, names = self.world.plan, [self.config.serving.history]
        names += [HIDDEN] if HIDDEN in self.config.features.sequences else []
        try:
            history = FeatureReader(plan, store, self.world.catalogue, columns=[], sequences=names)
            columns = FeatureReader(plan, store, self.world.catalogue, columns=plan.columns)
        except BaseException:
            store.close()
            raise
        with self._change:
            self._store, self._reader = store, LiveReader(history, columns)

    def _close_reader(self) -> None:
        with self._change:  # the store's memory must not go while somebody reads it
            self._reader = None
            self._change.wait_for(lambda: not self._reading)
            store, self._store = self._store, None
        if store is not None:
            store.close()

    @contextmanager
    def _open_reader(self) -> Iterator[LiveReader]:
        """The reader, which stays open as long as it is used.

        Raises:
            StoreError: the store is paused.
        """
        with self._change:
            reader = self._reader
            if reader is None:
                raise StoreError("the feature store is paused")
            self._reading += 1
        try:
            yield reader
        finally:
            with self._change:
                self._reading -= 1
                self._change.notify_all()
