"""Which trained version answers: list, promote, roll back, without a failed request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from muma.app.config import AppConfig
from muma.app.service.running import Running
from muma.app.serving_bundle import version_bundle, versions_of
from muma.app.versions import Answering, Pointer, promoted, rolled_back, state_of
from muma.errors import ArtifactError, ConfigError, MumaError, RefusedError
from muma.events.event import EventLog
from muma.events.vocabulary import forgotten
from muma.serving.bundle import Bundle
from muma.serving.engine import ServingEngine, Versions
from muma.serving.gate import Gate
from muma.serving.parts import Model
from muma.serving.recommending import Ask

WARM_USERS, LONG_US = 3, 60_000_000


class Shelf:
    """Kept versions in memory: those in use, and the one that was asked for last.

    Args:
        config: the recipe.
        log: the recipe's own log.
    """

    def __init__(self, config: AppConfig, log: EventLog) -> None:
        self._config, self._log = config, log
        self._lock = threading.Lock()
        self._held: dict[str, Bundle] = {}
        self._used: tuple[str, ...] = ()

    def get(self, version: str) -> Bundle:
        """A version, read if need be.

        Raises:
            UnknownIdError: it is not kept.
            ArtifactError, ConfigError: see `version_bundle`.
        """
        with self._lock:
            if version not in self._held:
                found = versions_of(self._config).get(version)
                bundle = version_bundle(self._config, self._log, found)
                stay = {name: self._held[name] for name in self._used if name in self._held}
                self._held = {**stay, version: bundle}
            return self._held[version]

    def use(self, *bundles: Bundle) -> None:
        """Hold these, and no others."""
        with self._lock:
            self._held = {bundle.version: bundle for bundle in bundles}
            self._used = tuple(self._held)


class ModelsHeld:
    """The versions of a run, one of which answers; see `muma.serving.parts.Models`.

    Args:
        engine: answers.
        running: the online side, for warm-up.
        shelf: the versions in memory.
        config: the recipe.
        answering: the hold on the run's versions.
        gate: judges candidates; None lets everything through that answers.
        clock: UTC microseconds.
    """

    def __init__(
        self,
        engine: ServingEngine,
        running: Running,
        shelf: Shelf,
        *,
        config: AppConfig,
        answering: Answering,
        gate: Gate | None,
        clock: Callable[[], int],
    ) -> None:
        self._engine, self._running, self._shelf = engine, running, shelf
        self._kept, self._answering = versions_of(config), answering
        self._gate, self._clock = gate, clock
        self._busy = threading.Lock()
        self._previous: Bundle | None = None
        self._hold(engine.versions.bundle, None)

    def list(self) -> Sequence[Model]:
        """All versions, newest first."""
        listed, now = self._kept.list(), self._now()
        return [
            Model(one.name, state_of(one, now, listed), one.made_at, one.metrics) for one in listed
        ]

    def promote(self, version: str, *, who: str, force: bool = False) -> Model:
        """Read it, let it answer for nobody, judge it, put it in place."""
        with self._one_at_a_time():
            now = self._now()
            pointer = promoted(now, version, at=self._clock(), who=who)
            made = self._kept.get(version)
            try:
                bundle = self._shelf.get(version)
                self._warm(bundle)
            except (ArtifactError, ConfigError) as error:
                raise RefusedError(str(error)) from error
            verdict = None if self._gate is None else self._gate.judge(bundle)
            if verdict is not None and not verdict.passed:
                if not force:
                    raise RefusedError(f"version {version} stays out: {verdict.reason}")
                verdict = replace(verdict, forced=True)
            self._put(bundle, pointer, self._engine.versions.bundle)
            return Model(version, "live", made.made_at, made.metrics, verdict)

    def roll_back(self, *, who: str) -> Model:
        """Put the previous one back; at once while it is in memory, which it is until a restart."""
        with self._one_at_a_time():
            pointer = rolled_back(self._now(), at=self._clock(), who=who)
            version = str(pointer.live)
            bundle = self._previous
            if bundle is None or bundle.version != version:
                bundle = self._shelf.get(version)
                self._warm(bundle)
            made = self._kept.get(version)
            self._put(bundle, pointer, None)
            return Model(version, "live", made.made_at, made.metrics)

    def _now(self) -> Pointer:
        """The pointer; the version in memory is live where it names none."""
        pointer = self._kept.pointer()
        return replace(pointer, live=self._engine.versions.bundle.version)

    def _put(self, bundle: Bundle, pointer: Pointer, previous: Bundle | None) -> None:
        """In one step for every later answer; on the disk before."""
        self._kept.point(pointer)
        self._engine.swap(lambda versions: replace(versions, bundle=bundle))
        self._hold(bundle, previous)

    def _hold(self, live: Bundle, previous: Bundle | None) -> None:
        self._previous = previous
        both = [live] if previous is None else [live, previous]
        self._shelf.use(*both)
        self._answering.loaded([one.version for one in both])

    def _warm(self, bundle: Bundle) -> None:
        """Answer several asks with it, remembered nowhere.

        Raises:
            ArtifactError: its rankers or sources fail.
        """
        versions: Versions = replace(self._engine.versions, bundle=bundle)
        twin = ServingEngine(
            versions, self._running.state, users=self._running.users, config=self._engine.config
        )
        ids = self._running.users().ids
        known = ids.filter(~forgotten(ids)).head(WARM_USERS).to_list()
        for place, user in enumerate([None, *map(str, known)]):
            ask = Ask(
                f"warm-up {place}", self._clock(), user=user, explain=True, deadline_us=LONG_US
            )
            try:
                answer = twin.answer(ask).answer
            except MumaError as error:
                raise ArtifactError(f"version {bundle.version} cannot answer: {error}") from error
            if faults := [why for why in answer.degraded if why.startswith(("rank:", "source "))]:
                raise ArtifactError(f"version {bundle.version} cannot answer whole: {faults[0]}")

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            raise RefusedError("another change of the models is under way; wait for it")
        try:
            yield
        finally:
            self._busy.release()
