"""The folder of an LMDB store: who writes it, which of its files can be trusted, and its snapshots.

    path/
    ├── lock                     held by the one writer, or shared by several (flock)
    ├── turn                     held by the one of several writers that commits (flock)
    ├── session.json             the last writer: boot id, how it synced, whether it closed cleanly
    ├── live/                    the LMDB environment
    ├── live.damaged-1/          set aside by a restore
    └── snapshots/<version>/     data.mdb, and manifest.json with its offsets, size and SHA-256

Everything here is renamed into place after it has reached the disk, so a kill or a power loss at
any moment leaves the old or the new; `sweep` removes what a killed writer left half made.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from muma.artifact import digest, flush
from muma.errors import StoreError

_LOOK_AGAIN = 0.001  # seconds between two looks whether the turn is free
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class SnapshotInfo:
    """A snapshot on disk.

    Attributes:
        version: commits in it.
        offsets: partition -> first offset that is not in it.
        size: bytes of its data file.
        sha256: digest of its data file.
    """

    version: int
    offsets: Mapping[int, int]
    size: int
    sha256: str


@dataclass(frozen=True)
class Folder:
    """Places and safe moves inside a store's folder."""

    home: Path

    @property
    def live(self) -> Path:
        """Folder of the LMDB environment."""
        return self.home / "live"

    @property
    def data(self) -> Path:
        """LMDB's data file."""
        return self.live / "data.mdb"

    @property
    def snapshots(self) -> Path:
        """Folder of the snapshots."""
        return self.home / "snapshots"

    def lock(self, wait_s: float = 0.0) -> int:
        """Become the one writer; closing the returned descriptor ends it.

        Args:
            wait_s: how long to wait for another one to end, seconds.

        Raises:
            StoreError: another process, or another store object of this one, is writing.
        """
        handle, end = self._lock_file(), time.monotonic() + wait_s
        while not _locked(handle):
            if time.monotonic() >= end:
                os.close(handle)
                raise StoreError(
                    f"{self.home}: another process is writing this store; stop it, or open the store "
                    "with readonly = true"
                )
            time.sleep(_LOOK_AGAIN)
        return handle

    def share(self) -> tuple[int, bool]:
        """Become one of several writers; to be called in one's `turn`.

        Returns:
            A descriptor, which ends it when it is closed, and whether there is no other writer; the
            one that is alone keeps all others out until it calls `settle`.

        Raises:
            StoreError: a process writes the store alone.
        """
        handle = self._lock_file()
        for mode, alone in ((fcntl.LOCK_EX, True), (fcntl.LOCK_SH, False)):
            try:
                fcntl.flock(handle, mode | fcntl.LOCK_NB)
            except OSError:
                continue
            return handle, alone
        os.close(handle)
        raise StoreError(
            f"{self.home}: another process is writing this store, and not with shared = true; stop it, "
            "or open it there with shared = true"
        )

    def settle(self, handle: int) -> None:
        """Let other sharing writers in."""
        fcntl.flock(handle, fcntl.LOCK_SH)

    @contextmanager
    def turn(self, wait_s: float) -> Iterator[None]:
        """Keep other sharing writers waiting; a kill ends it.

        Args:
            wait_s: how long to wait for one's own turn, seconds.

        Raises:
            StoreError: the others took longer.
        """
        with writable(self.home):
            self.home.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.home / "turn", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            end = time.monotonic() + wait_s
            while not _locked(handle):
                if time.monotonic() > end:
                    raise StoreError(
                        f"{self.home}: other writers took longer than wait_s = {wait_s} s; is one of "
                        "them stopped? Nothing was written; try again, or wait longer"
                    )
                time.sleep(_LOOK_AGAIN)
            yield
        finally:
            os.close(handle)

    def _lock_file(self) -> int:
        with writable(self.home):
            if not self.snapshots.is_dir():
                self.snapshots.mkdir(parents=True, exist_ok=True)
                flush(self.home.absolute().parent)
            return os.open(self.home / "lock", os.O_RDWR | os.O_CREAT, 0o644)

    def session(self) -> dict[str, Any]:
        """What the last writer noted; empty when there is nothing readable."""
        try:
            noted = json.loads((self.home / "session.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return noted if isinstance(noted, dict) else {}

    def note(self, *, sync: str, clean: bool) -> None:
        """Note, durably, how this writer works; before its first commit and after its last."""
        text = json.dumps({"boot": boot_id(), "sync": sync, "clean": clean})
        draft = self.home / "session.json.draft"
        draft.write_text(text, encoding="utf-8")
        flush(draft)
        draft.replace(self.home / "session.json")
        flush(self.home)

    def trusted(self) -> bool:
        """Whether all that was committed is in the live file: the machine has not restarted since,
        or it was flushed to disk.
        """
        noted, here = self.session(), boot_id()
        return (
            noted.get("clean") is True
            or noted.get("sync") == "commit"
            or (here is not None and noted.get("boot") == here)
        )

    def sweep(self) -> None:
        """Remove what a killed writer left half made."""
        for stale in [*self.snapshots.glob("writing-*"), *self.home.glob("live.new-*")]:
            shutil.rmtree(stale, ignore_errors=True)
        if self.live.exists():
            shutil.rmtree(self.home / "live.old", ignore_errors=True)

    def versions(self) -> list[int]:
        """Versions of the snapshots, rising."""
        if not self.snapshots.is_dir():
            return []
        return sorted(int(p.name) for p in self.snapshots.iterdir() if p.name.isdecimal())

    def newest(self) -> SnapshotInfo | None:
        """The newest snapshot."""
        for version in reversed(self.versions()):
            if (info := self._info(version)) is not None:
                return info
        return None

    def oldest(self) -> SnapshotInfo | None:
        """The oldest snapshot that is kept."""
        for version in self.versions():
            if (info := self._info(version)) is not None:
                return info
        return None

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """A folder for a new snapshot; removed on the way out unless `publish` has taken it."""
        draft = self.snapshots / f"writing-{os.getpid()}-{uuid4().hex[:8]}"
        with writable(self.home):
            draft.mkdir()
        try:
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def publish(self, draft: Path, version: int, offsets: Mapping[int, int], keep: int) -> None:
        """Make a finished copy a snapshot, and drop all but the newest `keep`."""
        data = draft / "data.mdb"
        flush(data)
        manifest = {
            "version": version,
            "offsets": {str(partition): offset for partition, offset in offsets.items()},
            "size": data.stat().st_size,
            "sha256": digest(data),
        }
        (draft / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        flush(draft / "manifest.json")
        flush(draft)
        draft.rename(self._of(version))
        flush(self.snapshots)
        for old in self.versions()[:-keep]:
            shutil.rmtree(self._of(old), ignore_errors=True)

    def bring_back(self, *, keep_live: bool) -> int:
        """Replace the live file by the newest sound snapshot, or by nothing when there is none.

        Args:
            keep_live: keep what was there as `live.damaged-N` instead of removing it.

        Returns:
            The version brought back; 0 for an empty store.

        Raises:
            StoreError: there are snapshots and all are damaged, or the disk is full.
        """
        with writable(self.home):
            found = self._copied()
            aside = self._aside() if keep_live else self.home / "live.old"
            if self.live.exists():
                if not keep_live:
                    shutil.rmtree(aside, ignore_errors=True)
                self.live.rename(aside)
            if found is not None:
                found[1].rename(self.live)
            flush(self.home)
        if not keep_live:
            shutil.rmtree(aside, ignore_errors=True)
        return 0 if found is None else found[0]

    def _copied(self) -> tuple[int, Path] | None:
        versions = self.versions()
        for version in reversed(versions):
            fresh = self.home / f"live.new-{uuid4().hex[:8]}"
            fresh.mkdir()
            info = self._info(version)
            if info is not None:
                shutil.copyfile(self._of(version) / "data.mdb", fresh / "data.mdb")
                flush(fresh / "data.mdb")
                flush(fresh)
                if digest(fresh / "data.mdb") == info.sha256:
                    return version, fresh
            shutil.rmtree(fresh)
            # kept for a look, under a name that is no version: a later snapshot may need that one
            self._of(version).rename(self.snapshots / f"damaged-{version}-{uuid4().hex[:8]}")
        if versions:
            raise StoreError(
                f"{self.home}: all {len(versions)} snapshots are damaged; move the folder away and "
                "replay the event log from its beginning"
            )
        return None

    def _info(self, version: int) -> SnapshotInfo | None:
        try:
            text = (self._of(version) / "manifest.json").read_text(encoding="utf-8")
            found = json.loads(text)
            offsets = {int(partition): int(at) for partition, at in found["offsets"].items()}
            size, sha256 = int(found["size"]), str(found["sha256"])
            if (
                found["version"] != version
                or (self._of(version) / "data.mdb").stat().st_size != size
            ):
                return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return SnapshotInfo(version, offsets, size, sha256)

    def _of(self, version: int) -> Path:
        return self.snapshots / f"{version:020d}"

    def _aside(self) -> Path:
        number = 1
        while (place := self.home / f"live.damaged-{number}").exists():
            number += 1
        return place


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def boot_id() -> str | None:
    """The kernel's id of this boot; None where the system does not tell, which trusts nothing."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip() or None
    except OSError:
        return None


@contextmanager
def writable(home: Path) -> Iterator[None]:
    """Turn a full or forbidden disk into a StoreError."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{home} cannot be written: {disk_trouble(error.errno)}") from error


def disk_trouble(code: int | None) -> str:
    """What went wrong, and what to do."""
    what = os.strerror(code) if code else "unknown error"
    if code in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return f"{what}; what was committed is unchanged. Make room, then try again"
    if code == errno.EIO:  # LMDB's word for a write that was cut short, too
        return f"{what}; what was committed is unchanged. The disk is full or broken"
    return f"{what}; what was committed is unchanged"
