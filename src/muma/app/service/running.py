"""The online side of a service: event stream, feature state and the thread that keeps the state up to date.

One process writes. Erasure pauses it: meanwhile answers do without the store, and senders of events are
told to come back.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np

from muma.app.config import AppConfig
from muma.app.streaming import Streaming, begin, open_streaming, state_folder
from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.errors import StoreError
from muma.events.vocabulary import Vocabulary
from muma.features.online.intake import Intake, IntakeConfig
from muma.features.online.pump import Pulse
from muma.features.online.reader import FeatureReader
from muma.features.store import StateStore
from muma.serving.bundle import Bundle
from muma.serving.facts import ItemFacts
from muma.serving.reading import HIDDEN, Known, LiveReader

LOG = logging.getLogger(__name__)
AGAIN_S = 1.0  # between two tries to go on after the store could not be written
IDLE_S = 0.05  # between two looks at the stream when nobody has said that events came


class Running:
    """Opened streams and state, and the pump's thread.

    Args:
        config: the recipe.
        clock: UTC microseconds.
        until: events of the recipe's log from this moment on are not fed; None feeds all.

    Attributes:
        turn: an answer and a step of the pump take turns. Both let go of the interpreter hundreds of
            times, at every read of the store; side by side they would wait for each other every time.

    Raises:
        StreamError, StoreError: another process writes here, or something is damaged.
    """

    def __init__(
        self, config: AppConfig, *, clock: Callable[[], int], until: int | None = None
    ) -> None:
        self.config, self._clock = config, clock
        self._stack = ExitStack()
        self.turn = threading.Lock()
        self._stop, self._come = threading.Event(), threading.Event()
        self._reading = 0  # answers that are in the store just now
        self._change = threading.Condition()
        self.pulse: Pulse | None = None
        self._reader: LiveReader | None = None
        self.on_step: Callable[[], object] = lambda: None
        self.turns = threading.Lock()  # of those who change what is stored of somebody
        self._open()
        begin(self.opened, until=until)
        while self.opened.pump.step().read:
            pass
        self.opened.pump.settle()
        self._start()

    def wake(self) -> None:
        """Say that events have come; without it they wait for the next look."""
        self._come.set()

    def users(self) -> Vocabulary:
        """Raw ids of users, as they stand now; while the stream is closed, as they stood last."""
        return self._ids()[0]

    def items(self) -> Vocabulary:
        """Raw ids of items, likewise."""
        return self._ids()[1]

    def trouble(self) -> str | None:
        """Why features are not kept up to date; None when they are."""
        failure = self._failure.error
        if failure is not None:
            return str(failure) or type(failure).__name__
        return None if self.is_open else "paused"

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
        """Whether stream and state are open: not while an erasure has them, nor after the end."""
        return self._reader is not None

    @contextmanager
    def paused(self) -> Iterator[StateStore]:
        """The state alone, with no engine on it; `resume` afterwards."""
        self.close()
        store = LmdbStore(LmdbConfig(path=str(state_folder(self.config))))
        try:
            yield store
        finally:
            store.close()

    def resume(self) -> None:
        """Go on after `paused`; does nothing when all is open."""
        if self.is_open:
            return
        self._stack = ExitStack()
        self._open()
        self._start()

    def close(self) -> None:
        """Write what waits, apply it, and release everything; safe to call twice."""
        self.intake.close()
        self._stop.set()
        self._come.set()
        self._thread.join()
        with self._change:  # the store's memory must not go while somebody reads it
            if self._reader is not None:
                self._kept = self.opened.stream.user_ids, self.opened.stream.item_ids
            self._reader = None
            self._change.wait_for(lambda: not self._reading)
        self._stack.close()

    def _open(self) -> None:
        streaming = open_streaming(self.config, clock=self._clock)
        self.opened: Streaming = self._stack.enter_context(streaming)
        plan, names = self.opened.world.plan, [self.config.serving.history]
        names += [HIDDEN] if HIDDEN in self.config.features.sequences else []
        catalogue, store = self.opened.world.catalogue, self.opened.store
        history = FeatureReader(plan, store, catalogue, columns=[], sequences=names)
        columns = FeatureReader(plan, store, catalogue, columns=plan.columns)
        self._reader = LiveReader(history, columns)

    def _start(self) -> None:
        section = self.config.stream
        bounds = IntakeConfig(
            queue_events=section.queue_events, lag_events=section.lag_events,
            most_at_once=min(section.most_at_once, section.queue_events),
        )  # fmt: skip
        self.intake = Intake(self.opened.stream, config=bounds, clock=self._clock, lag=self._lag)
        self._stop = threading.Event()
        self._failure = _Failure()
        self._thread = threading.Thread(target=self._follow, name="muma-pump", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        with self._failure:
            while not self._stop.is_set():
                try:
                    self._one_step()
                except StoreError as error:  # a full disk, say: go on from what was committed
                    self._failure.note(error)
                    self._stop.wait(AGAIN_S)
                    self._renew()
            self.pulse = self.opened.pump.close()

    def _one_step(self) -> None:
        pump = self.opened.pump
        with self.turn:
            self.pulse = pump.step()
        if self.pulse.read:
            self.on_step()
        else:
            pump.settle()
            self._failure.over()
            self._come.wait(IDLE_S)
            self._come.clear()

    def _renew(self) -> None:
        """Another engine; when the store cannot be read either, the next step says so again."""
        try:
            self.opened.renew(clock=self._clock)
        except StoreError as error:
            self._failure.note(error)

    def _lag(self) -> int:
        return self.opened.pump.lag()

    def _ids(self) -> tuple[Vocabulary, Vocabulary]:
        with self._change:
            if self._reader is None:
                return self._kept
            return self.opened.stream.user_ids, self.opened.stream.item_ids

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


class _Failure:
    """What a thread's work failed with, kept for those who ask, and logged."""

    error: BaseException | None = None

    def note(self, error: BaseException) -> None:
        """It failed, and is tried again."""
        if self.error is None:
            LOG.error("features are not kept up to date just now", exc_info=error)
        self.error = error

    def over(self) -> None:
        """It works."""
        if self.error is not None:
            LOG.info("features are kept up to date again")
        self.error = None

    def __enter__(self) -> _Failure:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        self.error = error if error is not None else self.error
        if error is not None:
            LOG.error("features are no longer kept up to date", exc_info=error)
        return True
