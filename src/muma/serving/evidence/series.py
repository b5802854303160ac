"""The writing side of one process: appends frames to its own series of segments."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from muma.artifact import flush
from muma.errors import StoreError
from muma.serving.evidence.segments import (
    BEGIN,
    Place,
    check_prologue,
    held,
    listed,
    prologue,
    scanned,
    seal,
    sealed,
    turn,
)

MOST_WORKERS = 1000


class Series:
    """One process's segments; the one that is not sealed is appended to. For one thread.

    What a kill left of a frame at the end of it is cut off at opening.

    Args:
        folder: of the log.
        worker: number of the series; None takes the first that nobody holds.
        segment_bytes: a segment that has reached this is sealed.

    Raises:
        StoreError: another process holds the series, or a file is no segment.
        OSError: the disk refuses.
    """

    def __init__(self, folder: Path, *, worker: int | None, segment_bytes: int) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self.worker, self._lock = _claimed(folder, worker)
        self._fd = -1
        self._size = 0
        self._place: Place | None = None
        try:
            mine = listed(folder, self.worker)
            self._next = mine[-1].number + 1 if mine else 1
            if mine and not sealed(folder, mine[-1]):
                self._recover(mine[-1])
        except BaseException:
            self.close()
            raise

    def append(self, framed: list[bytes]) -> bool:
        """Write frames one after the other, to the system and not yet to the disk.

        Returns:
            Whether a segment was sealed; what was written before is then durable.

        Raises:
            OSError: the disk is full or refuses; none of them is there.
        """
        with held(turn(self._folder, self.worker)):
            rolled = self._make_room()
            begin = self._size
            try:
                self._size = _written(self._fd, framed, begin)
            except OSError:
                self._cut(begin)
                raise
            return rolled

    def sync(self) -> None:
        """Bring what was written to the disk.

        Raises:
            OSError: it refuses; nothing since the last time counts as written, and the next frame
                begins a new segment.
        """
        if self._fd < 0:
            return
        try:
            os.fdatasync(self._fd)
        except OSError:
            self._leave()  # the system may have dropped the pages and not say so again
            raise

    def close(self) -> None:
        """Release the files."""
        self._leave()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _make_room(self) -> bool:
        """A segment to append to: the one at hand, unless it is full or somebody sealed it."""
        place = self._place
        if place is None:
            self._begin()
            return False
        taken = sealed(self._folder, place)
        if not taken and self._size < self._segment_bytes:
            return False
        os.fdatasync(self._fd)
        if not taken:
            seal(self._folder, place)
        self._leave()
        self._begin()
        return True

    def _begin(self) -> None:
        place = Place(self.worker, self._next)
        path = place.data(self._folder)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            size = _written(fd, [prologue()], 0)
            flush(self._folder)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        self._next += 1
        self._fd, self._size, self._place = fd, size, place

    def _recover(self, place: Place) -> None:
        path = place.data(self._folder)
        with held(turn(self._folder, self.worker)):
            found, size = scanned(path)
            end = found[-1].end if found else BEGIN
            fd = os.open(path, os.O_RDWR)
            try:
                check_prologue(os.pread(fd, BEGIN, 0), path)
                if os.pread(fd, BEGIN, 0)[:12] != prologue()[:12]:
                    os.ftruncate(fd, 0)
                    end = _written(fd, [prologue()], 0)
                elif end < size:
                    os.ftruncate(fd, end)
                os.fsync(fd)
            except BaseException:
                os.close(fd)
                raise
            self._fd, self._size, self._place = fd, end, place

    def _cut(self, size: int) -> None:
        try:
            os.ftruncate(self._fd, size)
        except OSError:
            self._leave()

    def _leave(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size, self._place = -1, 0, None


def _claimed(folder: Path, worker: int | None) -> tuple[int, int]:
    for number in range(MOST_WORKERS) if worker is None else (worker,):
        handle = os.open(folder / f"worker-{number:03d}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        with suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return number, handle
        os.close(handle)
    raise StoreError(
        f"{folder}: the series of worker {worker} is being written by another process; stop it, "
        "or let 'worker' be unset, which takes a free one"
    )


def _written(fd: int, pieces: list[bytes], at: int) -> int:
    raw = memoryview(pieces[0] if len(pieces) == 1 else b"".join(pieces))
    while raw:
        done = os.pwrite(fd, raw, at)
        at, raw = at + done, raw[done:]
    return at
