"""Write an LMDB store anew, so that no file of it holds a byte of what was removed.

LMDB leaves removed records in free pages and in the gaps of those in use; a compacted copy still has
the gaps. Here every record is put into a new environment, which takes the old one's place; the
snapshots go, and so do damaged files that a restore has set aside, and a new snapshot is made.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from uuid import uuid4

import lmdb

from muma.artifact import flush
from muma.backends.lmdb_files import Folder, writable
from muma.backends.lmdb_pages import check_data
from muma.backends.lmdb_snapshot import MOST_DATABASES, Environment, lmdb_errors
from muma.errors import StoreError

A_COMMIT = 50_000  # records copied at once


def purge(path: str, *, map_size_gib: float = 64) -> int:
    """Write a store anew. No process may be writing it; readers go over to the new file.

    A kill in the middle leaves the old store, or one that opens from its newest snapshot; calling it
    again does the rest.

    Args:
        path: the store's folder.
        map_size_gib: as in `LmdbConfig`.

    Returns:
        The store's version, which stays.

    Raises:
        StoreError: it is being written, damaged, or was not closed before the machine stopped (open
            and close it first); or the disk is full, and then nothing has changed.
    """
    folder = Folder(Path(path))
    if not folder.home.is_dir():
        raise StoreError(f"{folder.home} holds no store")
    lock = folder.lock()
    try:
        with writable(folder.home):
            old = folder.home / "live.old"
            if not folder.live.exists() and old.exists():
                old.rename(folder.live)
            folder.sweep()
        if not folder.data.exists() or not folder.trusted():
            raise StoreError(
                f"{folder.home} was being written when the machine stopped, or is new; open it for "
                "writing and close it, then try again"
            )
        check_data(folder.data, writer=True)
        return _purge(folder, int(map_size_gib * 2**30) // 4096 * 4096)
    finally:
        os.close(lock)


def _purge(folder: Folder, map_size: int) -> int:
    fresh = folder.home / f"live.new-{uuid4().hex[:8]}"
    try:
        with writable(folder.home):
            fresh.mkdir()
            beside = fresh / "old"  # LMDB opens no file that a reader of this process has open
            beside.mkdir()
            shutil.copyfile(folder.data, beside / "data.mdb")
        version, offsets = _copy(beside, fresh, map_size)
        with writable(folder.home):
            shutil.rmtree(beside)
            (fresh / "lock.mdb").unlink(missing_ok=True)
            flush(fresh / "data.mdb")
            flush(fresh)
            old = folder.home / "live.old"
            folder.live.rename(old)
            fresh.rename(folder.live)
            flush(folder.home)
            shutil.rmtree(old)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    with writable(folder.home):
        for stale in [*folder.home.glob("live.damaged-*"), *folder.snapshots.iterdir()]:
            shutil.rmtree(stale)
        flush(folder.home)
    with folder.draft() as draft, writable(folder.home):
        shutil.copyfile(folder.data, draft / "data.mdb")
        folder.publish(draft, version, offsets, keep=1)
    return version


def _copy(source: Path, target: Path, map_size: int) -> tuple[int, dict[int, int]]:
    old = Environment(source, readonly=True, lock=False, map_size=map_size)
    try:
        with lmdb_errors(source):
            txn, handles = old.begin()
            version, offsets = old.version(txn, handles), old.offsets(txn, handles)
            new = lmdb.open(
                str(target), max_dbs=MOST_DATABASES, map_size=map_size, sync=False, metasync=False
            )
            try:
                for name in list(txn.cursor().iternext(values=False)):
                    _copy_one(txn, old.lmdb.open_db(name, create=False), new, name)
                new.sync(True)
            finally:
                new.close()
    finally:
        old.lmdb.close()
    return version, offsets


def _copy_one(
    txn: lmdb.Transaction[bytes], source: lmdb._Database, new: lmdb.Environment, name: bytes
) -> None:
    target = new.open_db(name)
    cursor = txn.cursor(source)
    found = cursor.first()
    while found:
        with new.begin(write=True) as into:
            for _ in range(A_COMMIT):
                into.put(cursor.key(), cursor.value(), db=target, append=True)
                if not (found := cursor.next()):
                    break
