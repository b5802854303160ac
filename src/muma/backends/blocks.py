"""Blocks: how records lie in an append-only file, so that a cut or a scribble is seen.

    block = head (48 bytes: magic, state, payload length, count, tag, first, stamp, two CRC-32)
          + payload (padded to 8 bytes) + end mark (8 bytes)

A block is written as a draft, which readers pass over, and published by changing one byte: bytes
that a full disk or a kill leaves half written are never visible. The head has a checksum of its
own, so that a wrong length is damage and not a file that was cut short; the end mark tells a
payload that never reached the disk (zeros after a power loss) from one that was changed.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

MAGIC = b"MUMABLK"
DRAFT, LIVE = b"?", b"!"
STATE_AT = len(MAGIC)  # place of the state byte in a block
END_MARK = b"\nENDBLK\n"
Piece = bytes | memoryview
CHUNK = 1 << 16  # bytes read at once while only heads are wanted

_HEAD = struct.Struct("<7scQIIQqII")
_BODY = struct.Struct("<QIIQq")  # the part of the head under its checksum
HEAD_BYTES = _HEAD.size


class Flaw(Enum):
    """Why there is no whole published block at some byte."""

    END = "the file ends here"
    CUT = "a block that was cut short"
    DAMAGED = "bytes that are not a block, or whose checksum is wrong"


@dataclass(frozen=True, slots=True)
class Head:
    """A block's head.

    Attributes:
        at: byte of the block in its file.
        live: published.
        payload: bytes of the payload.
        count: records in it.
        tag: what the payload is; the owner of the file knows.
        first: offset of its first record.
        stamp: a time, UTC microseconds.
        crc: CRC-32 of head and payload.
    """

    at: int
    live: bool
    payload: int
    count: int
    tag: int
    first: int
    stamp: int
    crc: int

    @property
    def begin(self) -> int:
        """Byte of the payload in the file."""
        return self.at + HEAD_BYTES

    @property
    def end(self) -> int:
        """Byte after the block in the file."""
        return self.begin + padded(self.payload) + len(END_MARK)

    def holds(self, payload: Piece) -> bool:
        """Whether `payload` is what the checksum was made of."""
        body = _BODY.pack(self.payload, self.count, self.tag, self.first, self.stamp)
        return zlib.crc32(payload, zlib.crc32(body)) == self.crc


def padded(length: int) -> int:
    """`length` rounded up to whole words of 8 bytes."""
    return -(-length // 8) * 8


def block(payload: Piece, *, count: int, first: int, stamp: int = 0, tag: int = 0) -> list[Piece]:
    """Pieces of a draft block, to be written one after the other."""
    length = memoryview(payload).nbytes
    body = _BODY.pack(length, count, tag, first, stamp)
    head_crc = zlib.crc32(body)
    head = _HEAD.pack(
        MAGIC, DRAFT, length, count, tag, first, stamp, zlib.crc32(payload, head_crc), head_crc
    )
    return [head, payload, b"\0" * (padded(length) - length) + END_MARK]


def published(pieces: Sequence[Piece]) -> list[Piece]:
    """A draft block as one that is visible from the start: for a file that nobody reads yet."""
    head = bytearray(pieces[0])
    head[STATE_AT : STATE_AT + 1] = LIVE
    return [bytes(head), *pieces[1:]]


def parse(raw: Piece, at: int, size: int) -> Head | Flaw:
    """The head at byte `at` of a file of `size` bytes.

    Args:
        raw: bytes from `at` on, at least a head's unless the file is shorter.
        at: byte in the file.
        size: bytes of the file.
    """
    view = memoryview(raw)[:HEAD_BYTES]
    if size <= at:
        return Flaw.END
    if size - at < HEAD_BYTES or len(view) < HEAD_BYTES:
        return Flaw.CUT
    magic, state, length, count, tag, first, stamp, crc, head_crc = _HEAD.unpack(view)
    body = _BODY.pack(length, count, tag, first, stamp)
    if magic != MAGIC or state not in (DRAFT, LIVE) or zlib.crc32(body) != head_crc:
        return Flaw.DAMAGED
    head = Head(at, state == LIVE, length, count, tag, first, stamp, crc)
    return head if head.end <= size else Flaw.CUT


class Heads:
    """Reads heads one after the other with few reads of the file; for one walk, not to be kept."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size
        self._at = 0
        self._chunk = b""

    def at(self, byte: int) -> Head | Flaw:
        """The head at `byte`."""
        place = byte - self._at
        if not 0 <= place <= len(self._chunk) - HEAD_BYTES:
            self._at, place = byte, 0
            self._chunk = os.pread(self._fd, max(0, min(CHUNK, self._size - byte)), byte)
        return parse(memoryview(self._chunk)[place:], byte, self._size)


def verdict(fd: int, at: int, size: int) -> Head | Flaw:
    """What lies at byte `at`, looking at all of it: a whole block (draft or live), or its flaw."""
    head = Heads(fd, size).at(at)
    if isinstance(head, Flaw):
        return Flaw.CUT if head is Flaw.DAMAGED and only_zeros(fd, at, size) else head
    payload = os.pread(fd, head.payload, head.begin)
    mark = os.pread(fd, len(END_MARK), head.end - len(END_MARK))
    if head.holds(payload) and mark == END_MARK:
        return head
    unwritten = mark == b"\0" * len(END_MARK) and only_zeros(fd, head.end, size)
    return Flaw.CUT if unwritten or not head.live else Flaw.DAMAGED


def only_zeros(fd: int, at: int, size: int) -> bool:
    """Whether a file holds nothing but zeros from byte `at` on."""
    while at < size:
        piece = os.pread(fd, min(1 << 20, size - at), at)
        if not piece or piece.count(0) != len(piece):
            return False
        at += len(piece)
    return True


def write_all(fd: int, pieces: Sequence[Piece], at: int) -> int:
    """Write pieces one after the other from byte `at`; returns the byte after them.

    Raises:
        OSError: the disk is full or refuses; a part may be written.
    """
    views = [memoryview(piece).cast("B") for piece in pieces]
    while views:
        done = os.pwritev(fd, views, at)
        at += done
        while views and done >= len(views[0]):
            done -= len(views.pop(0))
        if views:
            views[0] = views[0][done:]
    return at


def publish(fd: int, at: int) -> None:
    """Make the draft at byte `at` visible."""
    os.pwrite(fd, LIVE, at + STATE_AT)


def sync_folder(path: str | os.PathLike[str]) -> None:
    """Make new and removed names in a folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
