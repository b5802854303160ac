"""The contract of a state store: records by key, committed together with the offsets they hold.

A record is the encoded state of one key (see `online/record.py`): bytes with a format version and a
checksum. A store keeps what it is given, all of a commit or nothing, and never looks inside.

Keys are `(table, key)`: the table is a kind of key such as `"user"` or `"user x category"`, the key
an unsigned 64-bit integer (`keys.py` packs two ids into one for pairs).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from muma.errors import StoreError

LONGEST_NAME = 400  # bytes of a blob's name; LMDB's longest key has 511
_TABLE = re.compile(r"[a-z][a-z0-9_]{0,63}( x [a-z][a-z0-9_]{0,63})?")


@dataclass(frozen=True)
class Records:
    """N byte strings laid end to end; record `i` is `data[starts[i] : starts[i] + lengths[i]]`.

    Shape:
        data: uint8 [total bytes]; starts: int64 [N]; lengths: int64 [N], 0 where there is no record.
    """

    data: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> bytes:
        start = int(self.starts[index])
        return self.data[start : start + int(self.lengths[index])].tobytes()

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> Records:
        """Lay byte strings end to end; None is a record that is not there.

        Example:
            >>> Records.of([b"ab", None, b"c"])[2]
            b'c'
        """
        lengths = np.fromiter((len(v) if v else 0 for v in values), np.int64, len(values))
        joined = b"".join(v for v in values if v)
        starts = np.cumsum(lengths) - lengths
        return cls(np.frombuffer(joined, dtype=np.uint8), starts, lengths)


@dataclass(frozen=True)
class TableChange:
    """New records of one table, and keys to remove.

    A record has at least one byte; a table stands once in a commit. What breaks this is refused
    (see `check`).

    Shape:
        keys: uint64 [N], distinct, any order; removed: uint64 [M], distinct, none of them in `keys`.
    """

    table: str
    keys: np.ndarray
    records: Records
    removed: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))


@dataclass(frozen=True)
class Changes:
    """What one commit writes, all or nothing.

    Attributes:
        tables: records by table.
        offsets: partition -> offset of the first event that is NOT in the state yet.
        blobs: named values beside the tables; None removes one.
    """

    tables: Sequence[TableChange] = ()
    offsets: Mapping[int, int] = field(default_factory=dict)
    blobs: Mapping[str, bytes | None] = field(default_factory=dict)


class Snapshot(Protocol):
    """A view of the last commit at the moment it was opened; later commits do not show in it."""

    @property
    def version(self) -> int:
        """Number of commits so far; 0 for an empty store."""
        ...

    def offsets(self) -> dict[int, int]:
        """Offset by partition, as committed."""
        ...

    def get(self, table: str, keys: np.ndarray) -> Records:
        """Records of `keys` (uint64 [N], repeats allowed), in their order.

        Raises:
            StoreError: a record, or the place it lies in, is damaged.
        """
        ...

    def blob(self, name: str) -> bytes | None:
        """A named value."""
        ...

    def blobs(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """Named values whose name begins with `prefix`, in order of name."""
        ...

    def scan(self, table: str, *, batch: int = 10_000) -> Iterator[tuple[np.ndarray, Records]]:
        """Every key of a table with its record, in pieces of at most `batch`, in any stable order."""
        ...

    def count(self, table: str) -> int:
        """Number of keys in a table."""
        ...

    def tables(self) -> list[str]:
        """Names of the tables that hold a key."""
        ...


class StateStore(Protocol):
    """One writer, many readers. `commit` is atomic and survives a kill of the process at any moment."""

    def commit(self, changes: Changes) -> int:
        """Apply `changes` whole and return the new version; on an error nothing has changed.

        Raises:
            StoreError: `changes` are inconsistent (see `check`), or the disk is full or damaged.
        """
        ...

    def update(self, change: Callable[[Snapshot], Changes]) -> int:
        """Commit what `change` makes of the last commit; no other commit can come between.

        So records can be added to by several threads, and by several processes where the store lets
        them in. `change` must not use the store itself, and may be called twice for one commit.

        Raises:
            StoreError: see `commit`. What `change` raises is raised, and nothing has changed.
        """
        ...

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Open a view of the last commit; keep it open briefly, it pins old pages."""
        ...

    def close(self) -> None:
        """Release files; safe to call twice."""
        ...


def check(changes: Changes) -> None:
    """Refuse changes that contradict themselves; a store calls it before it writes anything.

    Raises:
        StoreError: a key appears twice or is both written and removed, records and keys differ in
            number, a record is empty or lies outside its data, a table is named twice, or a name or
            an offset is not one.

    Example:
        >>> seven = np.array([7], dtype=np.uint64)
        >>> check(Changes([TableChange("user", seven, Records.of([b"state"]), removed=seven)]))
        Traceback (most recent call last):
        muma.errors.StoreError: table 'user': key 7 appears twice in one commit; keys ...
    """
    seen: set[str] = set()
    for change in changes.tables:
        if not _TABLE.fullmatch(change.table):
            raise StoreError(
                f"table {change.table!r}: the name must be one or two lower-case words joined by "
                "' x ', such as 'user x category'"
            )
        if change.table in seen:
            raise StoreError(f"table {change.table!r} stands twice in one commit; join its changes")
        seen.add(change.table)
        _check_keys(change)
        _check_records(change)
    for partition, offset in changes.offsets.items():
        if int(partition) != partition or int(offset) != offset or min(partition, offset) < 0:
            raise StoreError(
                f"offset {offset!r} of partition {partition!r}: both must be whole and not negative"
            )
    for name, value in changes.blobs.items():
        if not 1 <= len(name.encode()) <= LONGEST_NAME:
            raise StoreError(f"blob {name!r:.60}: the name must have 1 to {LONGEST_NAME} bytes")
        if value is not None and not isinstance(value, bytes):
            raise StoreError(f"blob {name!r}: got {type(value).__name__}; give bytes, or None")


def _check_keys(change: TableChange) -> None:
    for keys in (change.keys, change.removed):
        if keys.dtype != np.uint64 or keys.ndim != 1:
            raise StoreError(
                f"table {change.table!r}: keys must be uint64 [N]; got {keys.dtype} {keys.shape}"
            )
    both = np.sort(np.concatenate([change.keys, change.removed]))
    if (twice := both[1:][both[1:] == both[:-1]]).size:
        raise StoreError(
            f"table {change.table!r}: key {twice[0]} appears twice in one commit; keys must be "
            "distinct, and none both written and removed"
        )


def _check_records(change: TableChange) -> None:
    records = change.records
    if not len(records.starts) == len(records.lengths) == len(change.keys):
        raise StoreError(
            f"table {change.table!r}: {len(change.keys)} keys, {len(records.starts)} starts and "
            f"{len(records.lengths)} lengths; give one record for each key"
        )
    if not len(records):
        return
    if (records.lengths < 1).any():
        key = change.keys[int(np.argmin(records.lengths))]
        raise StoreError(
            f"table {change.table!r}: the record of key {key} is empty; name the key in 'removed'"
        )
    if records.starts.min() < 0 or (records.starts + records.lengths).max() > len(records.data):
        raise StoreError(f"table {change.table!r}: a record lies outside the data")
