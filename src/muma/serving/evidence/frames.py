"""Frames: how records lie in a segment, so that a cut or a scribble is seen and passed over.

    frame = head (44 bytes: magic, codec, flags, hashes of tenant, request and user, length, time,
            CRC-32 of what stands before it and of the payload)
          + payload

The head says whose decision it is and when it was, so that looking for some of them decodes no other.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

MAGIC = b"\xabMEVF\r\n\xba"
_HEAD = struct.Struct("<8sBBHIqQQ")
_CRC = struct.Struct("<I")
HEAD_BYTES = _HEAD.size + _CRC.size
LONGEST = 1 << 30  # bytes of a payload
ERASED = 1  # flag: what was personal is blanked
PLAIN, ZSTD = 0, 1  # codecs
NOBODY = 0


class Bytes(Protocol):
    """Bytes that can be searched: `bytes` or a memory map."""

    def __len__(self) -> int: ...
    def __getitem__(self, place: slice, /) -> bytes: ...
    def find(self, sub: bytes, start: int, /) -> int:
        """Place of `sub` from `start` on, or -1."""
        ...


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole frame at byte `at` of a segment; `time` is that of its ask, microseconds."""

    at: int
    codec: int
    flags: int
    tenant: int
    length: int
    time: int
    request: int
    user: int

    @property
    def begin(self) -> int:
        """Byte of the payload."""
        return self.at + HEAD_BYTES

    @property
    def end(self) -> int:
        """Byte after the frame."""
        return self.begin + self.length


def tenant_hash(tenant: str) -> int:
    """Hash of a tenant, 16 bits: enough to tell two that use the same name for a request."""
    return int.from_bytes(blake2b(tenant.encode("utf-8", "surrogatepass"), digest_size=2).digest())


def request_hash(request_id: str) -> int:
    """Hash of a request's id, 64 bits."""
    return int.from_bytes(
        blake2b(request_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    )


def user_hash(tenant: str, user: str | None) -> int:
    """Hash of a user of a tenant, 64 bits; 0 for nobody."""
    if user is None:
        return NOBODY
    text = f"{tenant}\0{user}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8, key=b"user").digest()) or 1


def packed(
    payload: bytes,
    *,
    codec: int,
    flags: int = 0,
    tenant: int = 0,
    time: int,
    request: int,
    user: int,
) -> bytes:
    """A frame."""
    head = _HEAD.pack(MAGIC, codec, flags, tenant, len(payload), time, request, user)
    return head + _CRC.pack(zlib.crc32(payload, zlib.crc32(head))) + payload


def frame_at(raw: Bytes, at: int) -> Frame | None:
    """The whole frame at byte `at`; None when there is none."""
    head = raw[at : at + _HEAD.size]
    if len(head) < _HEAD.size or head[: len(MAGIC)] != MAGIC:
        return None
    _, codec, flags, tenant, length, time, request, user = _HEAD.unpack(head)
    frame = Frame(at, codec, flags, tenant, length, time, request, user)
    if length > LONGEST or frame.end > len(raw):
        return None
    (crc,) = _CRC.unpack(raw[at + _HEAD.size : frame.begin])
    if zlib.crc32(raw[frame.begin : frame.end], zlib.crc32(head)) != crc:
        return None
    return frame


def frames(raw: Bytes, begin: int) -> Iterator[Frame]:
    """Whole frames from byte `begin` on, in order; bytes that are none are passed over.

    Example:
        >>> one = packed(b"x", codec=PLAIN, time=5, request=1, user=NOBODY)
        >>> [frame.at for frame in frames(one + b"scribble" + one + one[:-1], 0)]
        [0, 53]
    """
    at = begin
    while at >= 0 and at < len(raw):
        frame = frame_at(raw, at)
        if frame is None:
            at = raw.find(MAGIC, at + 1)
            continue
        yield frame
        at = frame.end
