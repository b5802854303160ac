"""The rows of one kind of key in memory, found by key, with what has changed since the last commit."""

from __future__ import annotations

import mmap
from contextlib import suppress

import numpy as np

from muma.errors import StoreError
from muma.features.activity import Prepared
from muma.features.kind_plan import KindPlan
from muma.features.online import index
from muma.features.online.kernel_tables import KernelTables, kernel_tables
from muma.features.online.record import decode, encode, signature
from muma.features.online.write_kernel import write
from muma.features.store import Records

FIRST_BITS = 10


class Table:
    """Resident rows of one kind of key.

    Memory is reserved for `most` rows and used as rows are: the system gives pages on first touch.

    Args:
        kind: its plan.
        n_writes: bits of an event.
        most: rows that may be resident.

    Attributes:
        cold: keys that only the store holds.
    """

    def __init__(self, kind: KindPlan, n_writes: int, *, most: int) -> None:
        self.kind, self.most = kind, most
        self.kernel: KernelTables = kernel_tables(kind, n_writes)
        self.sign = signature(kind)
        self.cold = 0
        self.rows = _reserve(most, kind.width)
        self.row_key = np.zeros(most, dtype=np.uint64)
        self._live = np.zeros(most, dtype=np.bool_)
        self._dirty = np.zeros(most, dtype=np.bool_)
        self._pending = np.zeros(most, dtype=np.bool_)
        self._used = np.zeros(most, dtype=np.int64)
        self._list = np.zeros(most, dtype=np.int64)
        self._n_dirty = 0
        self._high = 0  # rows at and above were never used
        self._recycled = np.zeros(0, dtype=np.int64)
        self._removed: list[np.ndarray] = []
        self._leaving: list[np.ndarray] = []  # handed over; the store may still show them
        self._bits = FIRST_BITS
        self._reset_index()

    def __len__(self) -> int:
        return self._high - len(self._recycled)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.kind.width * 8

    @property
    def bytes(self) -> int:
        """Bytes of resident rows."""
        return len(self) * self.row_bytes

    @property
    def memory(self) -> int:
        """Bytes of resident rows with their keys, marks and index."""
        beside = self.row_key.itemsize + self._used.itemsize + self._list.itemsize + 3
        return self.bytes + len(self) * beside + self._slot_key.nbytes + self._slot_row.nbytes

    @property
    def room(self) -> int:
        """Rows that can still be added."""
        return self.most - len(self)

    @property
    def n_dirty(self) -> int:
        """Rows that changed since the last `changes`."""
        return self._n_dirty

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Row of each key, -1 where it is not in memory; int64 [N]."""
        return index.find(keys, self._slot_key, self._slot_row, self._bits)

    def keys_of(self, prepared: Prepared) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (event, key) of a batch for this kind: int64 [M], uint64 [M]."""
        event, keys = prepared.keys[self.kind.name]
        if event is None:
            event = np.arange(len(keys), dtype=np.int64)
        return event, keys

    def apply(self, prepared: Prepared, late_N: np.ndarray, batch: int) -> None:
        """Let a batch write; there must be `room` for its new keys.

        Args:
            prepared: the events.
            late_N: bool, set where a state refused an event.
            batch: number of the batch, for eviction.
        """
        event, keys = self.keys_of(prepared)
        if not len(keys) or not len(self.kernel.states):
            return
        free = self._free(min(len(keys), self.room))
        self._grow_index(len(self) + len(keys))
        rows, left = index.resolve(
            keys, event, prepared.bits_WN, self.kernel.kind_mask,
            self._slot_key, self._slot_row, self._bits, free, len(free), self.row_key,
        )  # fmt: skip
        self._take(free, left)
        write(
            self.rows, rows, event, prepared.time_N, prepared.bits_WN, prepared.columns_CN,
            prepared.packed_N, prepared.dwell_N, self.kernel, late_N,
        )  # fmt: skip
        self._n_dirty = index.touch(rows, self._dirty, self._list, self._n_dirty)
        self._used[rows[rows >= 0]] = batch

    def absent(self, prepared: Prepared, batch: int) -> np.ndarray:
        """Distinct keys that a batch writes to and that are not in memory, uint64; marks the others as used."""
        event, keys = self.keys_of(prepared)
        writes = (prepared.bits_WN[:, event] & self.kernel.kind_mask[:, None]).any(axis=0)
        keys = keys[writes]
        rows = self.find(keys)
        self._used[rows[rows >= 0]] = batch
        return np.unique(keys[rows < 0])

    def stored(self, keys: np.ndarray) -> np.ndarray:
        """The keys that were not removed: a commit under way may not have reached the store yet."""
        gone = [*self._removed, *self._leaving]
        return keys[~np.isin(keys, np.concatenate(gone))] if gone else keys

    def load(self, keys: np.ndarray, records: Records, batch: int) -> None:
        """Take rows over from the store; keys are distinct and not in memory, absent ones stay absent.

        Raises:
            StoreError: a record is damaged or of another plan; no key was taken over.
        """
        there = np.flatnonzero(records.lengths > 0)
        if not len(there):
            return
        found = Records(records.data, records.starts[there], records.lengths[there])
        rows = self._add(keys[there], batch)
        try:
            decode(found, self.rows, rows, self.sign, self.kind.name)
        except BaseException:
            self._drop(rows)
            raise
        self.cold -= len(there)

    def changes(self) -> tuple[np.ndarray, Records, np.ndarray]:
        """Keys and records of what changed, and keys that were removed; then nothing is dirty.

        The rows stay in memory until `confirm` says that the store has them, or `take_back` that it
        has not.
        """
        rows = np.sort(self._list[: self._n_dirty])
        rows = rows[self._live[rows]]
        records = encode(self.rows, rows, self.kernel, self.sign)
        self._dirty[rows] = False
        self._pending[rows] = True
        self._n_dirty = 0
        removed = np.unique(np.concatenate(self._removed)) if self._removed else _NO_KEYS
        self._removed = []
        if len(removed):
            self._leaving.append(removed)
            removed = removed[self.find(removed) < 0]
        return self.row_key[rows], records, removed

    def confirm(self) -> None:
        """The store has everything that `changes` gave."""
        self._pending[: self._high] = False
        self._leaving = []

    def take_back(self) -> None:
        """The store has nothing of what `changes` gave since the last `confirm`."""
        rows = np.flatnonzero(self._pending[: self._high])
        self._pending[rows] = False
        self._n_dirty = index.touch(rows, self._dirty, self._list, self._n_dirty)
        self._removed, self._leaving = [*self._leaving, *self._removed], []

    def evict(self, count: int, *, but: int = -1) -> int:
        """Forget the `count` least recently used rows that the store holds; returns how many.

        Args:
            count: rows.
            but: number of a batch whose rows stay.
        """
        clean = self._live[: self._high] & ~self._dirty[: self._high] & ~self._pending[: self._high]
        rows = np.flatnonzero(clean & (self._used[: self._high] != but))
        if len(rows) > count:
            rows = rows[np.argpartition(self._used[rows], count)[:count]]
        self._drop(rows)
        self.cold += len(rows)
        return len(rows)

    def expired(self, before: int) -> np.ndarray:
        """Rows whose state reads as nothing from `before` (microseconds) on; int64."""
        if self.kind.reach < 0:
            return np.zeros(0, dtype=np.int64)
        live = np.flatnonzero(self._live[: self._high])
        return live[self.rows[live, 0] - 1 + self.kind.reach < before]

    def remove(self, rows: np.ndarray) -> None:
        """Forget rows, here and, with the next commit, in the store."""
        self._removed.append(self.row_key[rows].copy())
        self._drop(rows)

    def remove_cold(self, keys: np.ndarray) -> None:
        """Remove keys that only the store holds, with the next commit."""
        self._removed.append(keys)
        self.cold -= len(keys)

    def _add(self, keys: np.ndarray, batch: int) -> np.ndarray:
        """Rows for keys that are not in memory (distinct); zeroed, clean, int64 [N]."""
        free = self._free(len(keys))
        self._grow_index(len(self) + len(keys))
        rows = free[::-1][: len(keys)].copy()
        self._take(free, len(free) - len(keys))
        index.insert(keys, rows, self._slot_key, self._slot_row, self._bits)
        self.row_key[rows] = keys
        self._used[rows] = batch
        return rows

    def _drop(self, rows: np.ndarray) -> None:
        if not len(rows):
            return
        self._live[rows] = False
        if self._dirty[rows].any():
            self._dirty[rows] = False
            kept = self._list[: self._n_dirty]
            kept = kept[self._dirty[kept]]
            self._n_dirty = len(kept)
            self._list[: self._n_dirty] = kept
        self._pending[rows] = False
        self.rows[rows] = 0
        self._recycled = np.concatenate([self._recycled, rows])
        self._reset_index()
        live = np.flatnonzero(self._live[: self._high])
        self._grow_index(len(live))
        index.insert(self.row_key[live], live, self._slot_key, self._slot_row, self._bits)

    def _free(self, need: int) -> np.ndarray:
        """Free rows, to be taken from the end."""
        recycled = self._recycled[-need:] if need else self._recycled[:0]
        fresh = min(need - len(recycled), self.most - self._high)
        return np.concatenate(
            [np.arange(self._high + fresh - 1, self._high - 1, -1, dtype=np.int64), recycled]
        )

    def _take(self, free: np.ndarray, left: int) -> None:
        """Account for the free rows from `left` on, which were used."""
        used = free[left:]
        self._live[used] = True
        old = used < self._high
        again = int(old.sum())
        if again:
            self._recycled = self._recycled[: len(self._recycled) - again]
        self._high += len(used) - again

    def _reset_index(self) -> None:
        self._slot_key = np.zeros(1 << self._bits, dtype=np.uint64)
        self._slot_row = np.full(1 << self._bits, -1, dtype=np.int32)

    def _grow_index(self, keys: int) -> None:
        if keys * 2 <= 1 << self._bits:
            return
        while keys * 2 > 1 << self._bits:
            self._bits += 1
        old_key, old_row = self._slot_key, self._slot_row
        self._reset_index()
        filled = np.flatnonzero(old_row >= 0)
        rows = old_row[filled].astype(np.int64)
        index.insert(old_key[filled], rows, self._slot_key, self._slot_row, self._bits)


def _reserve(rows: int, width: int) -> np.ndarray:
    """Zeroed int64 [rows, width] whose pages the system gives on first touch.

    Rows are visited at random: large pages, where there are any, save most address translations.
    """
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    size = max(rows * width * 8, mmap.PAGESIZE)
    try:
        place = mmap.mmap(-1, size, flags=private)
    except OSError as error:
        raise StoreError(
            f"the machine does not give {size >> 20:,} MiB for rows ({error.strerror}); lower memory_mib"
        ) from None
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without large pages
            place.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(place, dtype=np.int64)[: rows * width].reshape(rows, width)


_NO_KEYS = np.zeros(0, dtype=np.uint64)
