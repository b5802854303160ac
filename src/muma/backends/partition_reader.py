"""Read one partition: find the segment of an offset, keep what was decoded, go on with the next."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from muma.backends.segments import Segment, Unfinished, Window, name_of
from muma.errors import StreamError
from muma.events.stream import StreamBatch

MOST_OPEN = 4  # segment files kept open by a reader
PATTERN = "[0-9]" * 20 + ".seg"


class Visible(Protocol):
    """What of a partition may be read."""

    def firsts(self) -> Sequence[int]:
        """First offsets of the visible segments, rising."""
        ...

    def size(self, segment: Segment) -> int:
        """Bytes of a segment that are visible."""
        ...


def listed(folder: Path) -> list[int]:
    """First offsets of the segments in a folder, rising."""
    return sorted(int(path.stem) for path in folder.glob(PATTERN))


class OnDisk:
    """Everything that is published in the files: the view of a reader in another process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def firsts(self) -> Sequence[int]:
        """List the folder."""
        return listed(self._folder)

    def size(self, segment: Segment) -> int:
        """Ask the file."""
        return segment.size()


@dataclass(frozen=True)
class Acknowledged:
    """How far a partition is acknowledged, as its writer tells readers in other processes.

    Attributes:
        last: first offset of the last segment; None when there is none.
        size: bytes of that segment.
        end: offset after the last event.
    """

    last: int | None = None
    size: int = 0
    end: int = 0


class Told:
    """What the writer says is acknowledged; nothing of it is ever taken back."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.now = Acknowledged()

    def firsts(self) -> Sequence[int]:
        """List the folder, up to the last segment that was told of."""
        last = self.now.last
        return [] if last is None else [first for first in listed(self._folder) if first <= last]

    def size(self, segment: Segment) -> int:
        """Ask the file, but believe no more of the last one than was told."""
        now, size = self.now, segment.size()
        return min(size, now.size) if segment.first == now.last else size


class PartitionReader:
    """Reads one partition; safe for several threads.

    Args:
        folder: of the partition.
        number: of the partition.
        visible: what may be read.
    """

    def __init__(self, folder: Path, number: int, visible: Visible) -> None:
        self._folder = folder
        self._number = number
        self._visible = visible
        self._lock = threading.Lock()
        self._open: dict[int, Segment] = {}  # by first offset, least recently used first
        self._firsts: Sequence[int] = ()
        self._window: Window | None = None

    def read(self, offset: int, limit: int) -> StreamBatch | None:
        """At most `limit` events from `offset` on; None when there is none yet.

        Raises:
            StreamError: see `EventStream.read`.
        """
        with self._lock:
            window = self._window
            if window is None or not window.first <= offset < window.end:
                window = self._find(offset, limit)
                if window is None:
                    return None
                self._window = window
            frame = window.frame.slice(offset - window.first, limit)
            return StreamBatch(self._number, offset, frame)

    def start(self) -> int:
        """First offset that is kept."""
        firsts = self._visible.firsts()
        return firsts[0] if firsts else 0

    def forget(self) -> None:
        """Let go of what is kept: segments were removed."""
        with self._lock:
            self._forget()

    def end(self) -> int:
        """Offset after the last visible event."""
        with self._lock:
            firsts = self._visible.firsts()
            for first in reversed(firsts):
                try:
                    segment = self._segment(first)
                    return segment.walk(self._visible.size(segment))
                except Unfinished:  # just made
                    continue
                except FileNotFoundError:  # just removed
                    if first in self._open:
                        self._open.pop(first).close()
            return firsts[0] if firsts else 0

    def _find(self, offset: int, limit: int) -> Window | None:
        try:
            return self._found(offset, limit)
        except FileNotFoundError:  # retention, or a writer that took an append back
            self._forget()
        try:
            return self._found(offset, limit)
        except FileNotFoundError:
            return None

    def _found(self, offset: int, limit: int) -> Window | None:
        for again in (False, True):
            if again:
                self._firsts = self._visible.firsts()
            place = bisect_right(self._firsts, offset) - 1
            if place < 0:
                continue
            try:
                segment = self._segment(self._firsts[place])
            except Unfinished:
                continue
            window = segment.load(offset, limit, self._visible.size(segment))
            if window is not None:
                return window
            if again:
                return self._after(offset, segment, place)
            if segment.end == offset and not self._is_next(offset):
                return None  # the usual answer at the end, without a look at the folder
        return self._before(offset)

    def _is_next(self, offset: int) -> bool:
        """Whether a segment begins at `offset`, or later ones are known."""
        return self._firsts[-1] > offset or (self._folder / name_of(offset)).exists()

    def _before(self, offset: int) -> None:
        """Say what is wrong when no segment that is readable yet begins at or before `offset`."""
        first = self._firsts[0] if self._firsts else 0
        if offset < first or (not self._firsts and offset > 0):
            raise StreamError(
                f"{self._folder}: offset {offset} is not there; "
                + (f"kept are offsets from {first} on" if self._firsts else "there is no event yet")
            )

    def _after(self, offset: int, segment: Segment, place: int) -> None:
        """Say what is wrong when `offset` lies after all that its segment holds."""
        if place + 1 < len(self._firsts):
            following = self._firsts[place + 1]
            raise StreamError(
                f"{segment.path}: offsets {segment.end} to {following} are missing; restore the "
                f"file from a copy, or read on from {following}"
            )
        if offset > segment.end:
            raise StreamError(
                f"{self._folder}: offset {offset} lies after the end ({segment.end}); it is of "
                "another stream, or of events that were lost: start the reader again from "
                f"{segment.end} or before"
            )

    def _segment(self, first: int) -> Segment:
        segment = self._open.pop(first, None)
        if segment is None:
            segment = Segment(self._folder / name_of(first))
            while len(self._open) >= MOST_OPEN:
                self._open.pop(next(iter(self._open))).close()
        self._open[first] = segment
        return segment

    def _forget(self) -> None:
        for segment in self._open.values():
            segment.close()
        self._open.clear()
        self._firsts, self._window = (), None
