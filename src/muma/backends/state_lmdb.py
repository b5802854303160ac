"""A state store on one machine's disk, in LMDB: one writer, many reading threads and processes.

With `shared = true` several processes write, taking turns commit by commit: what an `update` reads is
what the last of them committed.

Commits do not wait for the disk (`sync = "snapshot"`), because a durable event log stands behind
the store. What then survives what:

- **a kill of the process**, at any moment: every commit. It is in the system's page cache, and
  LMDB writes new pages beside the old ones before one write makes them current.
- **a clean `close()`**: every commit, a restart of the machine too.
- **a crash of the machine or a power loss**: the newest `checkpoint()`. Pages may have reached the
  disk in any order, so the live file is not looked at: the store notes the kernel's boot id, and
  when it is opened under another one without having been closed, it takes the newest snapshot (or
  starts empty when there is none). It then holds an older version with that version's offsets, and
  replaying the event log from them leads to the same state. `durable_offsets()` says what the event
  log must keep for that.

With `sync = "commit"` each commit waits for the disk, and the live file is always trusted.

A full disk is an error and not a crash, because the file is written and never mapped for writing.
Serve and commit in different processes where milliseconds count, as `muma serve` does: LMDB's binding lets other Python
threads run at each key, so a thread that computes without rest slows down all others' reads.

`lmdb_files.py` shows the folder, `lmdb_pages.py` the damage that is looked for at opening,
`lmdb_keys.py` the keys, `lmdb_snapshot.py` the reading side.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Literal

import lmdb
from pydantic import Field, model_validator

from muma.backends.lmdb_copy import paced_copy
from muma.backends.lmdb_files import Folder, flush, writable
from muma.backends.lmdb_keys import KeyText
from muma.backends.lmdb_pages import check_data, extend
from muma.backends.lmdb_snapshot import (
    BLOBS,
    META,
    MOST_READERS,
    OFFSETS,
    TABLE,
    VERSION,
    Environment,
    Handles,
    LmdbSnapshot,
    lmdb_errors,
)
from muma.config import Config
from muma.errors import StoreError
from muma.features.store import Changes, Snapshot, TableChange, check

READER_CHECK = 256  # commits between two looks for places that killed readers still hold


class LmdbConfig(Config):
    """Where the store lies and what it promises.

    Attributes:
        path: the store's folder.
        map_size_gib: most that it may grow to, GiB; reserves addresses, not disk or memory.
        readonly: open it beside a writer of another process.
        sync: what a commit waits for: `"commit"`, the disk; `"snapshot"`, nothing.
        shared: several processes write it, all with `shared = true`, which needs `sync = "commit"`.
        wait_s: most that a sharing writer waits for its turn, seconds.
        lock_s: how long opening waits for another writer to end, seconds; one that is killed holds its
            lock until the system has taken it apart.
        snapshot_keep: newest snapshots kept.
        pace_mib_s: most that a snapshot writes in a second, MiB, so that it does not hold up the
            event stream's own writes to the same disk.
    """

    path: str
    map_size_gib: float = Field(default=64, gt=0)
    readonly: bool = False
    sync: Literal["commit", "snapshot"] = "snapshot"
    shared: bool = False
    wait_s: float = Field(default=30, ge=0)
    lock_s: float = Field(default=0, ge=0)
    snapshot_keep: int = Field(default=2, ge=1)
    pace_mib_s: float = Field(default=64, gt=0)

    @model_validator(mode="after")
    def _durable_when_shared(self) -> LmdbConfig:
        if self.shared and (self.sync != "commit" or self.readonly):
            raise ValueError(
                "shared = true needs sync = 'commit', so that no writer depends on another's clean "
                "end, and readonly = false"
            )
        return self


class LmdbStore:
    """A `StateStore` in a folder; safe to share between threads.

    Raises:
        StoreError: another process writes it, the file is damaged, or a reader finds no store.

    Example:
        >>> import tempfile, numpy as np
        >>> from muma.features.store import Records
        >>> keys = np.array([7], dtype=np.uint64)
        >>> store = LmdbStore(LmdbConfig(path=tempfile.mkdtemp()))
        >>> store.commit(Changes([TableChange("user", keys, Records.of([b"state"]))], {0: 12}))
        1
        >>> with store.snapshot() as view:
        ...     view.get("user", keys)[0], view.offsets()
        (b'state', {0: 12})
        >>> store.close()
    """

    def __init__(self, config: LmdbConfig) -> None:
        self.config = config
        self.folder = Folder(Path(config.path))
        self._writing = threading.Lock()
        self._copying = threading.Lock()
        self._lock: int | None = None
        if config.readonly:
            self._open: Environment | None = self._reader()
            return
        with self._turn():
            self._lock, alone = (
                self.folder.share() if config.shared else (self.folder.lock(config.lock_s), True)
            )
            try:
                self._open = self._writer(alone)
            except BaseException:
                os.close(self._lock)
                raise
            if config.shared:
                self.folder.settle(self._lock)

    @classmethod
    def restore(cls, path: str) -> int:
        """Replace a damaged live file by the newest snapshot; it is kept as `live.damaged-N`.

        Args:
            path: the store's folder; no process may be writing it.

        Returns:
            The version brought back; 0, an empty store, when there is no snapshot.

        Raises:
            StoreError: there is no store, it is being written, or all its snapshots are damaged.
        """
        folder = Folder(Path(path))
        if not folder.home.is_dir():
            raise StoreError(f"{folder.home} holds no store to restore")
        lock = folder.lock()
        try:
            folder.sweep()
            return folder.bring_back(keep_live=True)
        finally:
            os.close(lock)

    def commit(self, changes: Changes) -> int:
        """Apply `changes` whole and return the new version; on an error nothing has changed.

        Raises:
            StoreError: `changes` are inconsistent (see `store.check`), the disk or the map is full,
                the file is damaged, or the store is closed or read-only.
        """
        self._refuse_readonly()
        with self._writing, self._turn():
            return self._commit(changes)

    def update(self, change: Callable[[Snapshot], Changes]) -> int:
        """See `StateStore.update`; other threads, and processes that share the store, wait."""
        self._refuse_readonly()
        with self._writing, self._turn(), lmdb_errors(self.folder.home):
            environment = self._environment()
            while True:
                # read in the writing transaction: a writer that is killed between making its commit
                # current and announcing it leaves readers one commit behind, until the next writer
                # begins
                handles = environment.handles
                txn = environment.lmdb.begin(write=True)
                try:
                    if txn.stat()["entries"] == handles.entries:
                        changes = change(LmdbSnapshot(environment, txn, handles))
                        check(changes)
                        new = _lacking(handles, changes)
                        if not new:
                            version = self._write(txn, environment, handles, changes)
                            txn.commit()
                            return self._committed(environment, version)
                    else:
                        new = []  # another process has created tables; their handles are opened
                finally:
                    txn.abort()  # does nothing after a commit
                environment.create(new)

    def _refuse_readonly(self) -> None:
        if self.config.readonly:
            raise StoreError(f"{self.folder.home} is open with readonly = true; cannot commit")

    def _turn(self) -> AbstractContextManager[None]:
        return self.folder.turn(self.config.wait_s) if self.config.shared else nullcontext()

    def _commit(self, changes: Changes) -> int:
        check(changes)
        with lmdb_errors(self.folder.home):
            environment = self._environment()
            if new := _lacking(environment.handles, changes):
                environment.create(new)
            with environment.lmdb.begin(write=True) as txn:
                version = self._write(txn, environment, environment.handles, changes)
            return self._committed(environment, version)

    def _committed(self, environment: Environment, version: int) -> int:
        # the commit stands; where this fails, the next opening looks the file through
        with suppress(OSError):
            extend(self.folder.data)
        if version % READER_CHECK == 0:
            environment.lmdb.reader_check()
        return version

    @contextmanager
    def snapshot(self) -> Iterator[LmdbSnapshot]:
        """Open a view of the last commit, for one thread at a time.

        Raises:
            StoreError: the store is closed or damaged.
        """
        with lmdb_errors(self.folder.home):
            environment = self._environment()
            txn, handles = environment.begin()
        try:
            yield LmdbSnapshot(environment, txn, handles, committed=True)
        finally:
            txn.abort()

    def checkpoint(self) -> int:
        """Copy the last commit to `snapshots/`, durably, and return its version.

        May run in another thread while commits go on; an interrupted one leaves no snapshot.

        Raises:
            StoreError: the disk is full, or the store is closed or read-only.
        """
        if self.config.readonly:
            raise StoreError(f"{self.folder.home} is open with readonly = true; cannot checkpoint")
        with self._copying, self.folder.draft() as draft:
            with self.snapshot() as view:
                version = view.version
            if version in self.folder.versions():
                return version
            live = self._environment().lmdb
            with lmdb_errors(self.folder.home):
                paced_copy(
                    lambda fd: live.copyfd(fd, compact=True),
                    draft / "data.mdb",
                    mib_s=self.config.pace_mib_s,
                )
            # the copy may hold later commits than the view; it says so itself
            copy = Environment(draft, readonly=True, lock=False, map_size=self._map_size)
            with lmdb_errors(draft):
                txn, handles = copy.begin()
                version, offsets = copy.version(txn, handles), copy.offsets(txn, handles)
                copy.lmdb.close()
            with writable(self.folder.home):
                self.folder.publish(draft, version, offsets, self.config.snapshot_keep)
            return version

    def durable_offsets(self) -> dict[int, int]:
        """Offset by partition that survives a power loss; the event log must keep all from there on.

        They are those of the oldest snapshot that is kept, so that each of them can be gone back to;
        with `sync = "commit"` those of the last commit.
        """
        sync = self.folder.session().get("sync") if self.config.readonly else self.config.sync
        if sync == "commit":
            with self.snapshot() as view:
                return view.offsets()
        oldest = self.folder.oldest()
        return {} if oldest is None else dict(oldest.offsets)

    def close(self) -> None:
        """Flush to disk and release the files; safe to call twice.

        Raises:
            StoreError: the disk is full or broken; the store then counts as not closed cleanly.
        """
        with self._copying, self._writing:
            environment, self._open = self._open, None
            lock, self._lock = self._lock, None
            if environment is None:
                return
            try:
                if lock is not None:
                    with lmdb_errors(self.folder.home), self._turn():
                        environment.lmdb.sync(True)
                        flush(self.folder.live)
                        self.folder.note(sync=self.config.sync, clean=True)
            finally:
                environment.lmdb.close()
                if lock is not None:
                    os.close(lock)

    @property
    def _map_size(self) -> int:
        return max(int(self.config.map_size_gib * 2**30) // 4096, 16) * 4096

    def _environment(self) -> Environment:
        environment = self._open
        if environment is None:
            raise StoreError(f"{self.folder.home} is closed; open a new store")
        if self.config.readonly and self._replaced(environment):
            with self._writing:
                # snapshots of the old file keep it open until they end
                if self._open is environment:
                    self._open = self._reader()
                environment = self._open
            if environment is None:
                raise StoreError(f"{self.folder.home} is closed; open a new store")
        return environment

    def _replaced(self, environment: Environment) -> bool:
        try:
            return os.stat(self._data).st_ino != environment.inode  # noqa: PTH116 - each read pays
        except FileNotFoundError:  # between two renames of a restore
            return False

    @property
    def _data(self) -> str:
        return f"{self.config.path}/live/data.mdb"

    def _reader(self) -> Environment:
        if not self.folder.data.exists():
            raise StoreError(f"{self.folder.home} holds no store; open it for writing first")
        if not self.folder.trusted():
            raise StoreError(
                f"{self.folder.home} was being written when the machine stopped; open it for "
                "writing once, which brings back the newest snapshot"
            )
        check_data(self.folder.data, writer=False)
        return Environment(
            self.folder.live,
            readonly=True,
            map_size=self._map_size,
            max_readers=MOST_READERS,
            max_spare_txns=1,
        )

    def _writer(self, alone: bool) -> Environment:
        folder, sync = self.folder, self.config.sync
        with writable(folder.home):
            if alone:
                folder.sweep()
                if not (folder.data.exists() and folder.trusted()):
                    folder.bring_back(keep_live=False)
            if folder.data.exists():
                check_data(folder.data, writer=alone)
            folder.live.mkdir(exist_ok=True)
        environment = Environment(
            folder.live,
            shared=self.config.shared,
            sync=sync == "commit",
            map_size=self._map_size,
            max_readers=MOST_READERS,
            max_spare_txns=1,
        )
        try:
            with lmdb_errors(folder.home):
                environment.lmdb.reader_check()
                environment.create([META, BLOBS])
                extend(folder.data)
                if sync == "commit":  # what an earlier writer did not wait for
                    environment.lmdb.sync(True)
                    flush(folder.live)
                folder.note(sync=sync, clean=False)
        except BaseException:
            environment.lmdb.close()
            raise
        return environment

    def _write(
        self,
        txn: lmdb.Transaction[bytes],
        environment: Environment,
        handles: Handles,
        changes: Changes,
    ) -> int:
        for change in changes.tables:
            if change.table in handles.tables:
                _write_table(txn, handles.tables[change.table], change)
        for name, value in changes.blobs.items():
            if value is None:
                txn.delete(name.encode(), db=handles.blobs)
            else:
                txn.put(name.encode(), value, db=handles.blobs)
        if changes.offsets:
            offsets = environment.offsets(txn, handles)
            offsets.update((int(p), int(at)) for p, at in changes.offsets.items())
            txn.put(OFFSETS, json.dumps(offsets).encode(), db=handles.meta)
        version = environment.version(txn, handles) + 1
        txn.put(VERSION, str(version).encode(), db=handles.meta)
        return version


def _lacking(handles: Handles, changes: Changes) -> list[str]:
    """Databases that changes need and that are not open."""
    named = [change.table for change in changes.tables if len(change.keys)]
    return [TABLE + table for table in named if table not in handles.tables]


def _write_table(
    txn: lmdb.Transaction[bytes], table: tuple[lmdb._Database, KeyText], change: TableChange
) -> None:
    handle, text = table
    for key in sorted(text.encode(change.removed)):
        txn.delete(key, db=handle)
    if not len(change.keys):
        return
    records = change.records
    data = records.data.tobytes()
    starts = records.starts.tolist()
    ends = (records.starts + records.lengths).tolist()
    values = [data[start:end] for start, end in zip(starts, ends, strict=True)]
    # in the order of the tree, neighbours share a page: two to five times faster
    txn.cursor(handle).putmulti(sorted(zip(text.encode(change.keys), values, strict=True)))
