"""Which keys are in memory: brought in before a batch writes, let go when the store has them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from muma.errors import StoreError
from muma.features.activity import Prepared
from muma.features.online.record import decode
from muma.features.online.tables import Table
from muma.features.store import Records, Snapshot, StateStore

MOST_EVENTS = 1 << 17  # of a piece
FEWEST_EVENTS = 64


class Residency:
    """Keeps the rows of all kinds of key within a budget.

    Rows that changed since the last commit cannot be let go, so the budget is exceeded by what one
    piece of events changes while an earlier commit is still under way.

    Args:
        tables: rows by kind of key, those that keep state.
        store: where the other keys are; None keeps all in memory.
        budget: bytes of rows.

    Attributes:
        budget: bytes of rows.
        piece: events to be written at once, so that their rows fit in a quarter of the budget.
    """

    def __init__(self, tables: Sequence[Table], store: StateStore | None, budget: int) -> None:
        self._tables, self._store, self.budget = tables, store, budget
        self._each = max(sum(table.row_bytes for table in tables), 1)  # rows of one event
        self.piece = min(max(budget // (4 * self._each), FEWEST_EVENTS), MOST_EVENTS)

    @property
    def bytes(self) -> int:
        """Bytes of resident rows."""
        return sum(table.bytes for table in self._tables)

    @property
    def free(self) -> int:
        """Bytes of the budget that are left; negative when it is exceeded."""
        return self.budget - self.bytes

    def load(self, snapshot: Snapshot) -> None:
        """Bring in everything that a store holds, when it fits; else keys come as they are needed."""
        for table in self._tables:
            table.cold = snapshot.count(table.kind.name)
        if sum(table.cold * table.row_bytes for table in self._tables) > self.budget:
            return
        for table in self._tables:
            for keys, records in snapshot.scan(table.kind.name):
                table.load(keys, records, 0)

    def relieve(self, events: int) -> bool:
        """Let go of rows until `events` more events fit; False when too few can be let go."""
        wanted = events * self._each
        if self._store is None or self.free >= wanted:
            return True
        self._evict(2 * wanted)  # not at every piece
        return self.free >= wanted

    def bring(self, prepared: Prepared, batch: int) -> None:
        """Bring in the keys that a batch writes to and make room for those nobody holds.

        Nothing has changed for readers when this fails.

        Args:
            prepared: the batch.
            batch: its number; rows it needs are not let go.

        Raises:
            StoreError: the batch's rows do not fit, or the store cannot be read.
        """
        pairs = [(table, len(prepared.keys[table.kind.name][1])) for table in self._tables]
        roomy = self.free >= sum(count * table.row_bytes for table, count in pairs)
        if roomy and all(not table.cold and count <= table.room for table, count in pairs):
            return
        absent = [table.absent(prepared, batch) for table in self._tables]
        wanted = sum(len(k) * t.row_bytes for k, t in zip(absent, self._tables, strict=True))
        if self._store is None and wanted > self.free:
            raise self._full("there is no store to keep the rest; raise it, or give a store")
        if wanted > self.free:
            self._evict(wanted, but=batch)
        for table, keys in zip(self._tables, absent, strict=True):
            if len(keys) > table.room:
                raise self._full(f"one batch writes to {len(keys):,} keys of {table.kind.name!r}")
        if self._store is None or not any(table.cold for table in self._tables):
            return
        with self._store.snapshot() as snapshot:
            for table, missing in zip(self._tables, absent, strict=True):
                if table.cold and len(missing):
                    keys = table.stored(missing)
                    table.load(keys, snapshot.get(table.kind.name, keys), batch)

    def rows_of(self, table: Table, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows to read (int64 [R, width]) and the row of each key (int64 [N], -1 for none)."""
        rows = table.find(keys)
        if not table.cold or self._store is None or not (rows < 0).any():
            return table.rows, rows
        absent = np.unique(keys[rows < 0])
        with self._store.snapshot() as snapshot:
            records = snapshot.get(table.kind.name, absent)
        scratch = _decoded(table, records)
        place_N = np.searchsorted(absent, keys) + len(keys)
        both = np.concatenate([table.rows[np.where(rows < 0, 0, rows)], scratch])
        return both, np.where(rows < 0, place_N, np.arange(len(keys)))

    def expire(self, before: int) -> int:
        """Remove keys that read as nothing from `before` (microseconds) on; returns how many."""
        gone = 0
        for table in self._tables:
            if table.kind.reach < 0:
                continue
            rows = table.expired(before)
            if len(rows):
                table.remove(rows)
            gone += len(rows)
            if table.cold and self._store is not None:
                with self._store.snapshot() as snapshot:
                    gone += _expire_cold(table, snapshot, before)
        return gone

    def _evict(self, wanted: int, *, but: int = -1) -> None:
        """Let go of the least recently used rows of the largest tables until `wanted` bytes are free."""
        stuck: set[int] = set()
        while self.free < wanted and len(stuck) < len(self._tables):
            left = [place for place in range(len(self._tables)) if place not in stuck]
            place = max(left, key=lambda one: self._tables[one].bytes)
            if not self._tables[place].evict(max(len(self._tables[place]) // 4, 64), but=but):
                stuck.add(place)

    def _full(self, advice: str) -> StoreError:
        return StoreError(f"the state does not fit memory_mib = {self.budget >> 20}: {advice}")


def _expire_cold(table: Table, snapshot: Snapshot, before: int) -> int:
    gone = []
    for keys, records in snapshot.scan(table.kind.name):
        past = _decoded(table, records)[:, 0] - 1 + table.kind.reach < before
        gone.append(table.stored(keys[past & (table.find(keys) < 0)]))
    keys = np.concatenate(gone) if gone else np.zeros(0, dtype=np.uint64)
    if len(keys):
        table.remove_cold(keys)
    return len(keys)


def _decoded(table: Table, records: Records) -> np.ndarray:
    rows = np.zeros((len(records), table.kind.width), dtype=np.int64)
    decode(records, rows, np.arange(len(records)), table.sign, table.kind.name)
    return rows
