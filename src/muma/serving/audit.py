"""Who changed what, and when: an append-only file in which every line holds the hash of the one before.

A line that is changed, removed or put between others breaks the chain from there on, and `verify`
names it. The last line has none after it that tells, and lines cut off at the end leave a sound
chain: keep `head()` elsewhere now and then (a ticket, another machine) and hand it to `verify`. It
shows a file that was written anew as well.

The file cannot forget, so nothing personal belongs into it: an erasure is named by its receipt.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from muma.artifact import flush
from muma.errors import DataError, StoreError

START = "0" * 64  # the hash before the first line
LONGEST = 1 << 16  # bytes of a line


@dataclass(frozen=True)
class Entry:
    """One action of an administrator.

    Attributes:
        who: id of the API key, never the key.
        what: the action, such as `rules.put`.
        time: UTC microseconds.
        tenant: whose.
        before: version before; None where there was none.
        after: version after; None where there is none.
        detail: more words; nothing personal, nothing secret.
    """

    who: str
    what: str
    time: int
    tenant: str = "default"
    before: str | None = None
    after: str | None = None
    detail: str = ""


@dataclass(frozen=True)
class Head:
    """The end of the chain: number of entries, and the hash of the last line."""

    entries: int
    sha256: str


class AuditLog:
    """The audit log in one file; several threads and processes may append.

    Args:
        path: the file; made with the first entry, readable by its owner only.

    Example:
        >>> import tempfile
        >>> log = AuditLog(Path(tempfile.mkdtemp()) / "audit.jsonl")
        >>> log.append(Entry("key-1", "rules.put", 5, before="a", after="b")).entries
        1
        >>> log.verify().entries, [entry.what for entry in log.entries()]
        (1, ['rules.put'])
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def append(self, entry: Entry) -> Head:
        """Add an entry; when this returns it is on the disk.

        What a kill left of a line at the end is cut off first: it was never acknowledged.

        Raises:
            DataError: the entry is too long.
            StoreError: the disk is full or refuses, or the last line is damaged; nothing was added.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._held() as fd:
            before, size = self._tail(fd)
            raw = _line(entry, before)
            if len(raw) > LONGEST:
                raise DataError(f"an audit entry has {len(raw)} bytes; allowed are {LONGEST}")
            try:
                _write(fd, raw, size)
                os.fsync(fd)
                if not size:
                    flush(self.path.parent)
            except OSError as error:
                os.ftruncate(fd, size)
                raise StoreError(
                    f"{self.path}: the entry was not added ({error.strerror}); make room first"
                ) from error
            return Head(before.entries + 1, _sha(raw))

    def entries(self) -> Iterator[Entry]:
        """All entries, the oldest first; see `verify` for whether they can be believed.

        Raises:
            StoreError: a line is no entry.
        """
        for number, raw in enumerate(self._lines(), 1):
            try:
                fields = json.loads(raw)
                yield Entry(**{n: v for n, v in fields.items() if n not in ("number", "previous")})
            except (ValueError, TypeError, AttributeError):
                raise self._broken(number, "it is no entry") from None

    def head(self) -> Head:
        """The end of the chain as it stands, not verified."""
        number, last = 0, START
        for number, raw in enumerate(self._lines(), 1):  # noqa: B007 - the last one is wanted
            last = _sha(raw)
        return Head(number, last)

    def verify(self, *, known: Head | None = None) -> Head:
        """Go through the chain from its beginning.

        Args:
            known: a head of earlier, kept elsewhere; it must be part of the chain.

        Returns:
            The head of now.

        Raises:
            StoreError: the chain is broken; the first line that is wrong is named.
        """
        number, last = 0, START
        for number, raw in enumerate(self._lines(), 1):
            try:
                fields = json.loads(raw)
                found = fields["number"], fields["previous"]
            except (ValueError, TypeError, KeyError):
                raise self._broken(number, "it is no entry") from None
            if found != (number, last):
                raise self._broken(number, "it, or the line before it, was changed or removed")
            last = _sha(raw)
            if known is not None and known.entries == number and known.sha256 != last:
                raise self._broken(number, "its hash is not the one that was kept")
        if known is not None and known.entries > number:
            raise self._broken(number + 1, f"it is gone; there were {known.entries} lines")
        return Head(number, last)

    def _lines(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as stream:
                for raw in stream:
                    if raw.endswith(b"\n"):  # another writer, or a kill, has not ended this one
                        yield raw
        except FileNotFoundError:
            return

    def _tail(self, fd: int) -> tuple[Head, int]:
        """The head and the bytes that are whole, by the last line only."""
        size = os.fstat(fd).st_size
        begin = max(size - 2 * LONGEST, 0)
        raw = os.pread(fd, size - begin, begin)
        end = raw.rfind(b"\n") + 1
        if begin + end < size:
            os.ftruncate(fd, begin + end)
        if not end:
            return Head(0, START), 0
        line = raw[raw.rfind(b"\n", 0, end - 1) + 1 : end]
        try:
            return Head(int(json.loads(line)["number"]), _sha(line)), begin + end
        except (ValueError, TypeError, KeyError):
            raise StoreError(
                f"{self.path}: the last line is damaged; restore it from a copy"
            ) from None

    @contextmanager
    def _held(self) -> Iterator[int]:
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield fd
        finally:
            os.close(fd)

    def _broken(self, line: int, why: str) -> StoreError:
        return StoreError(
            f"{self.path}, line {line}: {why}; the chain cannot be believed from here on"
        )


def _line(entry: Entry, before: Head) -> bytes:
    fields = {"number": before.entries + 1, "previous": before.sha256, **asdict(entry)}
    return json.dumps(fields).encode() + b"\n"


def _write(fd: int, raw: bytes, at: int) -> None:
    while raw:
        done = os.pwrite(fd, raw, at)
        at, raw = at + done, raw[done:]


def _sha(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
