"""The reading side, for any process: finds evidence by request, and goes through all of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import zstandard

from muma.errors import StoreError
from muma.serving.evidence.frames import (
    HEAD_BYTES,
    LONGEST,
    ZSTD,
    Bytes,
    Frame,
    frame_at,
    frames,
    request_hash,
    tenant_hash,
)
from muma.serving.evidence.record import decode
from muma.serving.evidence.segments import (
    BEGIN,
    Index,
    Place,
    listed,
    mapped,
    sealed,
)
from muma.serving.recommending import Evidence


@dataclass
class _Known:
    """What is known of one segment; `inode` and `written` tell it from one put in its place."""

    inode: int
    written: int | None = None  # nanoseconds, of a sealed one
    index: Index | None = None  # of a sealed one
    found: dict[int, list[int]] = field(default_factory=dict)  # of an open one: request -> bytes
    read: int = BEGIN  # byte up to which an open one was looked through

    def still(self, status: os.stat_result) -> bool:
        """Whether that is the file."""
        return status.st_ino == self.inode and self.written in (None, status.st_mtime_ns)

    def places(self, request: int) -> list[int]:
        if self.index is not None:
            return self.index.places(request)
        return self.found.get(request, [])[::-1]


class EvidenceReader:
    """Reads what all processes have written to a folder; safe for several threads.

    Holds 16 bytes a record. A segment is looked at again when it has grown or was replaced.

    Args:
        folder: of the log; it may be made later.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._known: dict[Place, _Known] = {}
        self._lock = threading.Lock()

    def get(self, request_id: str, *, tenant: str | None = None) -> Evidence | None:
        """The evidence of a request; see `EvidenceStore.get`."""
        wanted = request_hash(request_id)
        for look in (False, True):
            if look:
                self._refresh()
            with self._lock:
                candidates = [
                    (place, known, at)
                    for place, known in self._known.items()
                    for at in known.places(wanted)
                ]
            newest: Evidence | None = None
            for place, known, at in candidates:
                evidence = self._read(place, known, at)
                if (
                    evidence is not None
                    and evidence.ask.request_id == request_id
                    and tenant in (None, evidence.ask.tenant)
                    and (newest is None or evidence.ask.time > newest.ask.time)
                ):
                    newest = evidence
            if newest is not None:
                return newest
        return None

    def iterate(
        self, since: int | None = None, until: int | None = None, *, tenant: str | None = None
    ) -> Iterator[Evidence]:
        """All evidence of a stretch of time; see `EvidenceStore.iterate`."""
        for _, evidence in self.flagged(since, until, tenant=tenant):
            yield evidence

    def flagged(
        self, since: int | None = None, until: int | None = None, *, tenant: str | None = None
    ) -> Iterator[tuple[Frame, Evidence]]:
        """As `iterate`, each with its frame."""
        for frame, raw in self._frames(since, until):
            if tenant is None or frame.tenant == tenant_hash(tenant):
                evidence = unpacked(raw, frame)
                if tenant in (None, evidence.ask.tenant):
                    yield frame, evidence

    def heads(self, since: int | None = None, until: int | None = None) -> Iterator[Frame]:
        """The frames of a stretch of time, in the same order, without what is in them."""
        for frame, _ in self._frames(since, until):
            yield frame

    def _frames(self, since: int | None, until: int | None) -> Iterator[tuple[Frame, Bytes]]:
        if not self._folder.is_dir():
            return
        for place in listed(self._folder):
            if self._outside(place, since, until):
                continue
            try:
                with mapped(place.data(self._folder)) as raw:
                    for frame in frames(raw, BEGIN):
                        if within(frame.time, since, until):
                            yield frame, raw
            except FileNotFoundError:  # retention was quicker
                continue

    def _outside(self, place: Place, since: int | None, until: int | None) -> bool:
        try:
            index = Index.load(self._folder, place)
        except FileNotFoundError:
            return True
        if index is None:
            return False
        early = since is not None and index.last < since
        return early or (until is not None and index.first >= until)

    def _read(self, place: Place, known: _Known, at: int) -> Evidence | None:
        path = place.data(self._folder)
        try:
            with path.open("rb") as stream:
                if not known.still(os.fstat(stream.fileno())):
                    return None
                head = os.pread(stream.fileno(), HEAD_BYTES, at)
                length = int.from_bytes(head[12:16], "little")
                raw = head + os.pread(stream.fileno(), length, at + HEAD_BYTES)
        except FileNotFoundError:
            return None
        frame = frame_at(raw, 0)
        if frame is None:
            raise StoreError(f"{path} is damaged at byte {at}; restore it from a copy")
        return unpacked(raw, frame)

    def _refresh(self) -> None:
        """Look at what has come, grown or been replaced since the last time."""
        with self._lock:
            if not self._folder.is_dir():
                return
            places = listed(self._folder)
            for gone in self._known.keys() - set(places):
                del self._known[gone]
            for place in places:
                try:
                    self._look(place)
                except FileNotFoundError:
                    self._known.pop(place, None)

    def _look(self, place: Place) -> None:
        path = place.data(self._folder)
        status = path.stat()
        known = self._known.get(place)
        if known is None or not known.still(status):
            known = self._known[place] = _Known(status.st_ino)
        if known.index is not None:
            return
        if sealed(self._folder, place):
            known.index = Index.load(self._folder, place) or Index.of(path)
            known.written = status.st_mtime_ns
            known.found.clear()
        elif status.st_size > known.read:
            with mapped(path) as raw:
                for frame in frames(raw, known.read):
                    known.found.setdefault(frame.request, []).append(frame.at)
                    known.read = frame.end


def within(time: int, since: int | None, until: int | None) -> bool:
    """Whether `since <= time < until`."""
    return (since is None or time >= since) and (until is None or time < until)


def unpacked(raw: Bytes, frame: Frame) -> Evidence:
    """The evidence in a frame.

    Raises:
        StoreError: it cannot be read.
    """
    return decode(record_of(raw, frame))


def record_of(raw: Bytes, frame: Frame) -> bytes:
    """The record in a frame, decompressed.

    Raises:
        StoreError: it is compressed in a way that is not known.
    """
    payload = raw[frame.begin : frame.end]
    if frame.codec != ZSTD:
        return payload
    try:
        return zstandard.ZstdDecompressor().decompress(payload, max_output_size=LONGEST)
    except zstandard.ZstdError as error:
        raise StoreError(f"a record of evidence cannot be decompressed: {error}") from None
