"""The reading side for other processes: features straight from the store's last commit."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from muma.errors import StoreError
from muma.features.catalogue import Catalogue
from muma.features.feature import FeatureTable, Sequences
from muma.features.online.engine import COUNTERS, PLAN
from muma.features.online.reading import Reading, Source
from muma.features.online.record import decode, merge, plan_signature, signature, view
from muma.features.plan import Plan
from muma.features.store import Snapshot, StateStore


@dataclass(frozen=True)
class Freshness:
    """How new a state is: commits of the store, and the newest event time in it (microseconds)."""

    version: int
    watermark: int


class FeatureReader:
    """Reads features of a plan from a store; every call sees one commit, whole.

    Threads may share it.

    Args:
        plan: the features, the ones that the writing engine was built on.
        store: opened for reading.
        catalogue: attributes of items.
        columns: the ones to read, in this order; None is every column and every sequence.
        sequences: with `columns`, the sequences to read.

    Raises:
        StoreError: the store holds the state of other features.
        ConfigError: the plan has no such column or sequence.
    """

    def __init__(
        self,
        plan: Plan,
        store: StateStore,
        catalogue: Catalogue,
        *,
        columns: Sequence[str] | None = None,
        sequences: Sequence[str] = (),
    ) -> None:
        self.plan, self._store = plan, store
        read = plan if columns is None else plan.select(columns, sequences)
        self._reading = Reading(read, catalogue)
        self._signs = [signature(kind) for kind in plan.kinds]
        self._names = [kind.name for kind in plan.kinds]
        self._scratch = threading.local()  # a place in `kinds` -> int64 [rows, width]
        with store.snapshot() as snapshot:
            stored = snapshot.blob(PLAN)
        if stored is not None and stored != plan_signature(plan):
            raise StoreError(
                "the store holds the state of another set of features; read it with the recipe it "
                "was made with"
            )

    def lookup(self, user: int, items: np.ndarray, at: int) -> FeatureTable:
        """Features of one user with N items at `at`; see `Engine.lookup`.

        Raises:
            StoreError: a record is damaged or of another plan.
        """
        with self._store.snapshot() as snapshot:
            return self._reading.lookup(self._source(snapshot), user, items, at)

    def sequences(self, user: int, at: int) -> dict[str, Sequences]:
        """The sequences alone of one user at `at`, [1, L]; empty of nobody known.

        Raises:
            StoreError: a record is damaged or of another plan.
        """
        with self._store.snapshot() as snapshot:
            return self._reading.sequences(self._rows_of(snapshot), user, at)

    def table(self, users: np.ndarray, items: np.ndarray, ats: np.ndarray) -> FeatureTable:
        """Features of B (user, item, moment) requests; see `Engine.table`."""
        with self._store.snapshot() as snapshot:
            return self._reading.table(self._source(snapshot), users, items, ats)

    def freshness(self) -> Freshness:
        """How new the state is."""
        with self._store.snapshot() as snapshot:
            counted = snapshot.blob(COUNTERS)
            watermark = -1 if counted is None else int(json.loads(counted)["watermark"])
            return Freshness(snapshot.version, watermark)

    def record(self, table: str, key: int) -> dict[str, Any] | None:
        """The state of one key as readable data; None when there is none.

        Raises:
            StoreError: there is no such kind of key.
        """
        places = [i for i, kind in enumerate(self.plan.kinds) if kind.name == table]
        if not places:
            known = ", ".join(kind.name for kind in self.plan.kinds)
            raise StoreError(f"no state is kept by {table!r}; these keep some: {known}")
        kind = self.plan.kinds[places[0]]
        with self._store.snapshot() as snapshot:
            rows, row = self._rows_of(snapshot)(places[0], np.array([key], dtype=np.uint64))
        found = rows[row[0]]
        return view(kind, found) if found[0] else None

    def _source(self, snapshot: Snapshot) -> Source:
        def merge_of(
            place: int, keys: np.ndarray, at_N: np.ndarray, first: int, merged_NM: np.ndarray
        ) -> None:
            name, row = self._names[place], np.empty(self.plan.kinds[place].width, dtype=np.int64)
            merge(
                snapshot.get(name, keys), self._signs[place], name, at_N,
                self._reading.kernels[place], first=first, row=row, merged_NM=merged_NM,
            )  # fmt: skip

        return Source(self._rows_of(snapshot), merge_of)

    def _rows_of(self, snapshot: Snapshot):  # noqa: ANN202 - a RowsOf
        def rows_of(place: int, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            kind = self.plan.kinds[place]
            own: dict[int, np.ndarray] = self._scratch.__dict__.setdefault("rows", {})
            if place not in own or len(keys) > len(own[place]):
                own[place] = np.zeros((max(2 * len(keys), 256), kind.width), dtype=np.int64)
            scratch = own[place]
            row_N = np.arange(len(keys), dtype=np.int64)
            decode(snapshot.get(kind.name, keys), scratch, row_N, self._signs[place], kind.name)
            return scratch, row_N

        return rows_of
