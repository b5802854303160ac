"""Reading LMDB: an environment with the handles of its named databases, and one view of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from muma.backends.lmdb_files import disk_trouble
from muma.backends.lmdb_keys import KeyText
from muma.backends.lmdb_pages import RESTORE, TREE
from muma.backends.lmdb_walk import KeyParts, Pages
from muma.errors import StoreError
from muma.features.store import Records

META, BLOBS, TABLE = "meta", "blobs", "table "  # names of databases; a table's follows TABLE
VERSION, OFFSETS = b"VERSION", b"OFFSETS"
MOST_DATABASES = 256
MOST_READERS = 1024
MANY = 8  # keys from which on one walk over the pages is quicker than a call a key

_DAMAGE = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.PanicError,
    lmdb.BadTxnError,  # a snapshot that has met a damaged page before
)
_MEANINGS = (
    (_DAMAGE, f"the file is damaged ({{error}}); {RESTORE}"),
    (
        lmdb.MapFullError,
        "the store has reached map_size_gib and nothing has changed; open it with a larger one",
    ),
    (
        lmdb.MapResizedError,
        "the writer uses a larger map_size_gib; open this reader with the same",
    ),
    (lmdb.ReadersFullError, f"{MOST_READERS} snapshots are open at once; close some"),
    (lmdb.DbsFullError, f"no more than {MOST_DATABASES - 2} tables are possible"),
)


@dataclass(frozen=True)
class Handles:
    """The databases of an environment that are open; replaced, never changed."""

    entries: int
    tables: Mapping[str, tuple[Any, KeyText]]
    meta: Any = None
    blobs: Any = None

    @classmethod
    def of(cls, opened: Mapping[bytes, Any]) -> Handles:
        """Handles of all named databases, by name."""
        named = {name.decode(): handle for name, handle in opened.items()}
        tables = {
            name.removeprefix(TABLE): (handle, KeyText.of(name.removeprefix(TABLE)))
            for name, handle in named.items()
            if name.startswith(TABLE)
        }
        return cls(len(named), tables, named.get(META), named.get(BLOBS))


class Environment:
    """An open LMDB environment."""

    def __init__(
        self, folder: Path, *, readonly: bool = False, shared: bool = False, **options: Any
    ) -> None:
        self.folder = folder
        self._readonly = readonly
        self._shared = shared
        with lmdb_errors(folder):
            self.lmdb = lmdb.open(str(folder), readonly=readonly, max_dbs=MOST_DATABASES, **options)
            self.inode = (folder / "data.mdb").stat().st_ino
            self.pages = Pages(
                folder / "data.mdb", inode=self.inode, size=self.lmdb.stat()["psize"]
            )
        self.opening = threading.Lock()  # LMDB opens one handle at a time in a process
        self.handles = Handles(-1, {})

    def begin(self) -> tuple[lmdb.Transaction[bytes], Handles]:
        """Start reading the last commit, with the handles of all its databases.

        A handle is of use only to transactions that begin after it was opened, so the number of
        databases is compared first.
        """
        while True:
            handles = self.handles
            txn = self._reader()
            if txn.stat()["entries"] == handles.entries:
                return txn, handles
            names = _names(txn)
            txn.abort()
            if self._shared:  # another process has created a database
                self.create([])
                continue
            with self.opening:  # waits for `create`, whose handles come just after its commit
                if self._readonly:
                    opened = {name: self.lmdb.open_db(name, create=False) for name in names}
                    self.handles = Handles.of(opened)

    def create(self, names: list[str]) -> None:
        """Create the databases that are not there yet; an empty one does not show.

        Only here does a writing process open handles, and inside the transaction: without one,
        LMDB's binding would wait for the writer's lock while it keeps other threads from running.
        """
        with self.opening:
            with self.lmdb.begin(write=True) as txn:
                wanted = dict.fromkeys([*_names(txn), *(name.encode() for name in names)])
                opened = {name: self.lmdb.open_db(name, txn=txn) for name in wanted}
            self.handles = Handles.of(opened)

    def version(self, txn: lmdb.Transaction[bytes], handles: Handles) -> int:
        """Number of commits that a transaction sees."""
        return 0 if handles.meta is None else int(txn.get(VERSION, b"0", handles.meta))

    def offsets(self, txn: lmdb.Transaction[bytes], handles: Handles) -> dict[int, int]:
        """Offset by partition that a transaction sees."""
        text = b"{}" if handles.meta is None else txn.get(OFFSETS, b"{}", handles.meta)
        return {int(partition): offset for partition, offset in json.loads(text).items()}

    def _reader(self) -> lmdb.Transaction[bytes]:
        try:
            return self.lmdb.begin()
        except lmdb.ReadersFullError:  # killed readers keep their places until somebody looks
            self.lmdb.reader_check()
            return self.lmdb.begin()


def _names(txn: lmdb.Transaction[bytes]) -> list[bytes]:
    return list(txn.cursor().iternext(values=False))


class LmdbSnapshot:
    """A `Snapshot` over one transaction; for one thread at a time.

    Args:
        environment: where.
        txn: reads, or writes.
        handles: of the databases that it sees.
        committed: it sees what was committed alone, so that the file holds all its pages.
    """

    def __init__(
        self,
        environment: Environment,
        txn: lmdb.Transaction[bytes],
        handles: Handles,
        *,
        committed: bool = False,
    ) -> None:
        self._environment = environment
        self._txn = txn
        self._handles = handles
        self._committed = committed

    @property
    def version(self) -> int:
        """Number of commits so far."""
        with lmdb_errors(self._environment.folder):
            return self._environment.version(self._txn, self._handles)

    def offsets(self) -> dict[int, int]:
        """Offset by partition, as committed."""
        with lmdb_errors(self._environment.folder):
            return self._environment.offsets(self._txn, self._handles)

    def get(self, table: str, keys: np.ndarray) -> Records:
        """Records of `keys` (uint64 [N], repeats allowed), in their order.

        Raises:
            StoreError: LMDB finds the page damaged, or the snapshot is closed.
        """
        if table not in self._handles.tables:
            return Records.of([None] * len(keys))
        handle, text = self._handles.tables[table]
        with lmdb_errors(self._environment.folder):
            if self._committed and len(keys) >= MANY:
                found = self._walked(table, text, np.asarray(keys, np.uint64))
                if found is not None:
                    return found
            # a cursor's `get` a key is faster than the transaction's, and than `getmulti`, which
            # builds tuples and leaves gaps to find
            get = self._txn.cursor(handle).get
            values = [get(key, b"") for key in text.encode(np.asarray(keys, np.uint64))]
        return _records(values)

    def _walked(self, table: str, text: KeyText, keys: np.ndarray) -> Records | None:
        """The records by the file's own pages; see `lmdb_walk`."""
        tree = self._txn.get(f"{TABLE}{table}".encode())
        if tree is None:
            return None
        root = TREE.unpack(tree)[-1]
        return self._environment.pages.get(root, KeyParts.of(text), keys)

    def blob(self, name: str) -> bytes | None:
        """A named value."""
        if self._handles.blobs is None:
            return None
        with lmdb_errors(self._environment.folder):
            return self._txn.get(name.encode(), None, self._handles.blobs)

    def blobs(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """Named values whose name begins with `prefix`, in order of name."""
        start = prefix.encode()
        with lmdb_errors(self._environment.folder):
            if self._handles.blobs is None:
                return
            cursor = self._txn.cursor(self._handles.blobs)
            found = cursor.set_range(start) if start else cursor.first()
            while found and cursor.key().startswith(start):
                yield cursor.key().decode(), cursor.value()
                found = cursor.next()

    def scan(self, table: str, *, batch: int = 10_000) -> Iterator[tuple[np.ndarray, Records]]:
        """Every key of a table with its record, in order of the keys' text."""
        if table not in self._handles.tables:
            return
        handle, text = self._handles.tables[table]
        with lmdb_errors(self._environment.folder):
            left = iter(self._txn.cursor(handle))
            while piece := list(islice(left, batch)):
                yield text.decode([key for key, _ in piece]), _records([v for _, v in piece])

    def count(self, table: str) -> int:
        """Number of keys in a table."""
        if table not in self._handles.tables:
            return 0
        with lmdb_errors(self._environment.folder):
            return self._txn.stat(self._handles.tables[table][0])["entries"]

    def tables(self) -> list[str]:
        """Names of the tables that hold a key."""
        return sorted(table for table in self._handles.tables if self.count(table))


def _records(values: list[bytes]) -> Records:
    lengths = np.fromiter(map(len, values), np.int64, len(values))
    data = np.frombuffer(b"".join(values), dtype=np.uint8)
    return Records(data, np.cumsum(lengths) - lengths, lengths)


class lmdb_errors:  # noqa: N801 - reads as a function; a generator would cost a microsecond a read
    """Turn LMDB's errors and the system's into StoreErrors that say what to do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Translate what was raised inside."""
        if isinstance(error, (lmdb.Error, OSError)):
            raise StoreError(f"{self.folder}: {_told(error)}") from error


def _told(error: lmdb.Error | OSError) -> str:
    if isinstance(error, OSError):
        return disk_trouble(error.errno)
    for kinds, text in _MEANINGS:
        if isinstance(error, kinds):
            return text.format(error=error)
    if (code := getattr(error, "code", 0)) > 0:  # a number of the system's, such as ENOSPC
        return f"{disk_trouble(code)} ({error})"
    if "already open" in str(error):
        return "this process has opened the store already; share that object, it is thread-safe"
    if "closed" in str(error):
        return "the snapshot, or its store, is closed; open a new one"
    return str(error)
