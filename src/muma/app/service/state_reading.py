"""The feature state as answers read it: opened beside the pump that writes it, and let go of for an erasure."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from muma.app.config import AppConfig
from muma.app.features import World
from muma.app.streaming import state_folder
from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.errors import StoreError
from muma.features.online.reader import FeatureReader
from muma.serving.bundle import Bundle
from muma.serving.facts import ItemFacts
from muma.serving.reading import HIDDEN, Known, LiveReader


class StateReading:
    """What `muma.serving.reading.LiveReader` offers, while the store is open; threads may share it.

    Args:
        config: the recipe.
        world: what reading needs of it.
    """

    def __init__(self, config: AppConfig, world: World) -> None:
        self._config, self._world = config, world
        self._reading = 0  # answers that are in the store just now
        self._change = threading.Condition()
        self._store: LmdbStore | None = None
        self._reader: LiveReader | None = None

    @property
    def is_open(self) -> bool:
        """Whether the state can be read."""
        return self._reader is not None

    def open(self) -> None:
        """Read from now on; does nothing when it is open.

        Raises:
            StoreError: there is no store, or it is damaged.
        """
        if self.is_open:
            return
        store = LmdbStore(LmdbConfig(path=str(state_folder(self._config)), readonly=True))
        world, names = self._world, [self._config.serving.history]
        names += [HIDDEN] if HIDDEN in self._config.features.sequences else []
        try:
            history = FeatureReader(world.plan, store, world.catalogue, columns=[], sequences=names)
            columns = FeatureReader(world.plan, store, world.catalogue, columns=world.plan.columns)
        except BaseException:
            store.close()
            raise
        with self._change:
            self._store, self._reader = store, LiveReader(history, columns)

    def close(self) -> None:
        """Let go of the store, when nobody reads it any more; safe to call twice."""
        with self._change:  # the store's memory must not go while somebody reads it
            self._reader = None
            self._change.wait_for(lambda: not self._reading)
            store, self._store = self._store, None
        if store is not None:
            store.close()

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
            StoreError: the store is closed.
        """
        with self._open_reader() as reader:
            return reader.newest()

    @contextmanager
    def _open_reader(self) -> Iterator[LiveReader]:
        """The reader, which stays open as long as it is used.

        Raises:
            StoreError: the store is closed.
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
