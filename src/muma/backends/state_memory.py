"""A state store in memory: for tests, and for a single process that need not survive its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from muma.config import Config
from muma.features.store import Changes, Records, Snapshot, TableChange, check


class MemoryConfig(Config):
    """Nothing to set."""


@dataclass(frozen=True)
class MemorySnapshot:
    """One commit's state; later commits build new dicts and leave these alone."""

    version: int = 0
    held: Mapping[int, int] = field(default_factory=dict)
    records: Mapping[str, Mapping[int, bytes]] = field(default_factory=dict)
    values: Mapping[str, bytes] = field(default_factory=dict)

    def offsets(self) -> dict[int, int]:
        """Offset by partition, as committed."""
        return dict(self.held)

    def get(self, table: str, keys: np.ndarray) -> Records:
        """Records of `keys` (uint64 [N]), in their order."""
        of_table = self.records.get(table, {})
        return Records.of([of_table.get(key) for key in keys.tolist()])

    def blob(self, name: str) -> bytes | None:
        """A named value."""
        return self.values.get(name)

    def blobs(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """Named values whose name begins with `prefix`, in order of name."""
        return ((n, self.values[n]) for n in sorted(self.values) if n.startswith(prefix))

    def scan(self, table: str, *, batch: int = 10_000) -> Iterator[tuple[np.ndarray, Records]]:
        """Every key of a table with its record, in order of insertion."""
        left = iter(self.records.get(table, {}).items())
        while piece := list(islice(left, batch)):
            keys = np.array([key for key, _ in piece], dtype=np.uint64)
            yield keys, Records.of([value for _, value in piece])

    def count(self, table: str) -> int:
        """Number of keys in a table."""
        return len(self.records.get(table, {}))

    def tables(self) -> list[str]:
        """Names of the tables that hold a key."""
        return sorted(table for table, held in self.records.items() if held)


class MemoryStore:
    """A `StateStore` of dicts; a commit copies the tables it changes, so snapshots cost nothing."""

    def __init__(self, config: MemoryConfig = MemoryConfig()) -> None:
        self.config = config
        self._last = MemorySnapshot()
        self._writing = threading.Lock()

    def commit(self, changes: Changes) -> int:
        """Apply `changes` whole and return the new version.

        Raises:
            StoreError: `changes` are inconsistent.
        """
        with self._writing:
            return self._commit(changes)

    def update(self, change: Callable[[Snapshot], Changes]) -> int:
        """See `StateStore.update`."""
        with self._writing:
            return self._commit(change(self._last))

    def _commit(self, changes: Changes) -> int:
        check(changes)
        last = self._last
        tables = {c.table: _changed(last.records.get(c.table, {}), c) for c in changes.tables}
        blobs = {**last.values, **changes.blobs}
        self._last = MemorySnapshot(
            version=last.version + 1,
            held={**last.held, **{int(p): int(o) for p, o in changes.offsets.items()}},
            records={**last.records, **tables},
            values={name: value for name, value in blobs.items() if value is not None},
        )
        return self._last.version

    @contextmanager
    def snapshot(self) -> Iterator[MemorySnapshot]:
        """Open a view of the last commit."""
        yield self._last

    def close(self) -> None:
        """Do nothing: there are no files, and the content stays."""


def _changed(held: Mapping[int, bytes], change: TableChange) -> dict[int, bytes]:
    changed = dict(held)
    for key in change.removed.tolist():
        changed.pop(key, None)
    records = change.records
    changed.update((key, records[i]) for i, key in enumerate(change.keys.tolist()))
    return changed
