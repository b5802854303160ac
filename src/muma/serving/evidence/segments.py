"""Segment files of the log, one series a process, and the index that seals a full one.

    folder/
    ├── worker-000.lock                  held by the process that writes the series
    ├── worker-000.turn                  held while somebody appends to it, or seals it
    ├── worker-000-0000000001.evd        prologue (magic, version, generation) + frames
    ├── worker-000-0000000001.evx        its index, which seals it: nobody appends any more
    └── housekeeping.lock                held while files are removed or rewritten

An index is a summary and no source: one that is missing, damaged or of another file is made anew. A
segment that is written anew, to erase something, has the next generation.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from muma.artifact import flush
from muma.errors import StoreError
from muma.serving.evidence.frames import Bytes, Frame, frames

MAGIC, VERSION = b"MUMAEVD\n", 1
BEGIN = 16  # bytes of the prologue
_NAME = re.compile(r"worker-(\d{3})-(\d{10})\.evd")
# magic, version, count, bytes and generation of the segment, first and last time, CRC-32
_INDEX = struct.Struct("<8sIIQIqqI")
_INDEX_MAGIC = b"MUMAEVX\n"
_LEAST, _MOST = -(2**63), 2**63 - 1


@dataclass(frozen=True, order=True)
class Place:
    """A segment's worker and its number in the series."""

    worker: int
    number: int

    def data(self, folder: Path) -> Path:
        """Its file."""
        return folder / f"worker-{self.worker:03d}-{self.number:010d}.evd"

    def index(self, folder: Path) -> Path:
        """Its index."""
        return self.data(folder).with_suffix(".evx")


def listed(folder: Path, worker: int | None = None) -> list[Place]:
    """Segments in a folder, by worker and number."""
    found = (_NAME.fullmatch(name) for name in os.listdir(folder))  # noqa: PTH208 - names only
    places = (Place(int(m[1]), int(m[2])) for m in found if m)
    return sorted(p for p in places if worker in (None, p.worker))


@dataclass(frozen=True)
class Index:
    """Where the frames of a segment lie.

    Shape:
        request_N: uint64, rising; at_N: uint64, byte of the frame; of equal requests the older first.

    Attributes:
        size: bytes of the segment.
        generation: of the segment.
        first: earliest time of a frame.
        last: latest one.
    """

    request_N: np.ndarray
    at_N: np.ndarray
    size: int
    generation: int
    first: int
    last: int

    @classmethod
    def of(cls, path: Path) -> Index:
        """The index of a segment, made by going through it.

        Raises:
            FileNotFoundError: it is gone.
            StoreError: it is no segment.
        """
        found, size = scanned(path)
        _, generation = _identity(path)
        request_N = np.array([f.request for f in found], dtype=np.uint64)
        at_N = np.array([f.at for f in found], dtype=np.uint64)
        order = np.argsort(request_N, kind="stable")
        times = [f.time for f in found]
        first, last = (min(times), max(times)) if times else (_MOST, _LEAST)
        return cls(request_N[order], at_N[order], size, generation, first, last)

    def places(self, request: int) -> list[int]:
        """Bytes of the frames of a request, the newest first."""
        key = np.uint64(request)
        low = int(self.request_N.searchsorted(key))
        if low == len(self.request_N) or self.request_N[low] != key:
            return []
        high = int(self.request_N.searchsorted(key, side="right"))
        return self.at_N[low:high].tolist()[::-1]

    def save(self, path: Path) -> None:
        """Write it whole, or nothing.

        Raises:
            OSError: the disk is full or refuses.
        """
        body = self.request_N.astype("<u8").tobytes() + self.at_N.astype("<u8").tobytes()
        fields = (_INDEX_MAGIC, VERSION, len(self.at_N), self.size, self.generation,
                  self.first, self.last)  # fmt: skip
        crc = zlib.crc32(body, zlib.crc32(_INDEX.pack(*fields, 0)))
        replace_file(path, _INDEX.pack(*fields, crc) + body)

    @classmethod
    def load(cls, folder: Path, place: Place) -> Index | None:
        """Read what `save` wrote; None when it is missing, damaged or of another file.

        Raises:
            FileNotFoundError: the segment is gone.
        """
        size, generation = _identity(place.data(folder))
        try:
            raw = place.index(folder).read_bytes()
        except FileNotFoundError:
            return None
        if len(raw) < _INDEX.size:
            return None
        *fields, crc = _INDEX.unpack_from(raw)
        magic, version, count, of, made, first, last = fields
        body = raw[_INDEX.size :]
        sound = (magic, version, of, made, len(body)) == (
            _INDEX_MAGIC, VERSION, size, generation, 16 * count,
        )  # fmt: skip
        if not sound or zlib.crc32(body, zlib.crc32(_INDEX.pack(*fields, 0))) != crc:
            return None
        both = np.frombuffer(body, dtype="<u8")
        return cls(both[:count], both[count:], size, generation, first, last)


def prologue(generation: int = 0) -> bytes:
    """First bytes of a segment."""
    return MAGIC + struct.pack("<II", VERSION, generation)


def _identity(path: Path) -> tuple[int, int]:
    """Bytes and generation of a segment."""
    with path.open("rb") as stream:
        raw = stream.read(BEGIN)
        return os.fstat(stream.fileno()).st_size, int.from_bytes(raw[12:16], "little")


@contextmanager
def mapped(path: Path) -> Iterator[Bytes]:
    """The bytes of a segment.

    Raises:
        FileNotFoundError: it is gone.
        StoreError: it is no segment, or one of another format.
    """
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if not size:
            yield b""
            return
        with mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ) as raw:
            check_prologue(raw[:BEGIN], path)
            yield raw


def check_prologue(raw: bytes, path: Path) -> None:
    """Refuse the first bytes of something else; a part of a prologue is one not yet written.

    Raises:
        StoreError: it is no segment, or one of another format.
    """
    if prologue().startswith(raw.rstrip(b"\0")):
        return
    magic, version = raw[: len(MAGIC)], int.from_bytes(raw[len(MAGIC) : len(MAGIC) + 4], "little")
    if magic != MAGIC:
        raise StoreError(
            f"{path} is no segment of evidence; move it away or restore it from a copy"
        )
    if version != VERSION:
        raise StoreError(f"{path} has the format {version}; this version reads {VERSION}")


def scanned(path: Path) -> tuple[list[Frame], int]:
    """All whole frames of a segment, and the bytes of the file."""
    with mapped(path) as raw:
        return list(frames(raw, BEGIN)), len(raw)


def seal(folder: Path, place: Place) -> Index:
    """Write the index of a segment; the caller holds the series' turn.

    Raises:
        OSError: the disk is full or refuses.
    """
    index = Index.of(place.data(folder))
    index.save(place.index(folder))
    return index


def sealed(folder: Path, place: Place) -> bool:
    """Whether nobody may append to it any more."""
    return place.index(folder).exists()


def replace_file(path: Path, raw: bytes) -> None:
    """Write a file beside, bring it to the disk, and rename it into place.

    Raises:
        OSError: the disk is full or refuses; the old file stays.
    """
    draft = path.with_name(path.name + ".draft")
    try:
        with draft.open("wb") as stream:
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    flush(path.parent)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Wait for a lock file and hold it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def turn(folder: Path, worker: int) -> Path:
    """Lock of everything that appends to, or seals, a segment of a series."""
    return folder / f"worker-{worker:03d}.turn"


def housekeeping(folder: Path) -> Path:
    """Lock of everything that removes or rewrites segments."""
    return folder / "housekeeping.lock"
