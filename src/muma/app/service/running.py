"""The online side of a service: event stream, feature state, and the process that keeps the state up to date.

This process takes events in and reads the state; another one, its pump, reads the events and writes the state
(`pumping`). Erasure pauses the pump: meanwhile answers do without the store, and events go on coming in.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from muma.app.config import AppConfig
from muma.app.features import open_world
from muma.app.service.pump_process import PumpProcess
from muma.app.service.pump_wire import Report
from muma.app.service.state_reading import StateReading
from muma.app.streaming import begin, open_events, state_folder
from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.events.vocabulary import Vocabulary
from muma.features.online.intake import Intake, IntakeConfig
from muma.features.store import StateStore


class Running:
    """Opened stream, and the process of the pump, which begins to read the state; see `wait`.

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
        state: what answers read.
        on_step: called when the state holds more events.
        on_state: called with whether the state can be read, when that has changed.
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
        self.on_state: Callable[[bool], object] = lambda _: None
        self.pump = PumpProcess(config) if pump is None else pump
        try:
            self.world = open_world(config, now_us=clock())
            self.state = StateReading(config, self.world)
            self.stream = open_events(config, self.world.log)
        except BaseException:
            self.pump.close()
            raise
        try:
            begin(config, self.stream, self.world.log, until=until)
            self.pump.acknowledged = self.stream.acknowledged
            self.pump.heard = self._heard
            self.pump.begin()
        except BaseException:
            self._release()
            raise
        section = config.stream
        bounds = IntakeConfig(
            queue_events=section.queue_events, lag_events=section.lag_events,
            most_at_once=min(section.most_at_once, section.queue_events),
        )  # fmt: skip
        self.intake = Intake(self.stream, config=bounds, clock=clock, lag=self.lag)

    def wait(self) -> None:
        """Until the state can be read and holds every event there is; to be called once, after the start.

        Raises:
            StreamError, StoreError: the pump cannot work.
        """
        self.pump.wait(lambda report: report.settled and not self.lag())

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

    @property
    def is_open(self) -> bool:
        """Whether the state can be read: not while an erasure has it, nor after the end."""
        return self.state.is_open

    @contextmanager
    def paused(self) -> Iterator[StateStore]:
        """The state alone, with no engine on it; `resume` afterwards."""
        self.pump.pause()
        self.state.close()
        self.on_state(False)
        store = LmdbStore(LmdbConfig(path=str(state_folder(self.config))))
        try:
            yield store
        finally:
            store.close()

    def resume(self) -> None:
        """Go on after `paused`; does nothing when all is open."""
        if not self.is_open:
            self.pump.begin()
            self.pump.wait(lambda report: report.settled)

    def close(self) -> None:
        """Write what waits, apply it, and release everything; safe to call twice."""
        self.intake.close()
        self._release()

    def _release(self) -> None:
        self.pump.close()
        self.state.close()
        self.stream.close()

    def _heard(self, report: Report) -> None:
        """A report of the pump: the store may be there to be read now, or hold more."""
        if report.state == "open" and not self.is_open:
            self.state.open()
            self.on_state(True)
        if report.durable is not None:
            self.stream.drop_before(report.durable)
        if report.read:
            self.on_step()
