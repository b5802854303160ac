"""What was said of each user, in a file of JSON lines: a line a change, the last of a user counts.

A line is on the disk before it holds. Forgetting a user writes the file anew without them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from muma.artifact import flush
from muma.errors import StoreError
from muma.serving.consent.consent import SOURCES, Said
from muma.serving.erasure.erasable import Residue, Subject
from muma.serving.evidence.segments import replace_file

NOTHING = Said({})


class ConsentBook:
    """Safe for several threads; one process writes. It is a part of erasure, too.

    Args:
        path: of the file; made with the first change.
        clock: UTC microseconds.

    Raises:
        StoreError: a line cannot be read.

    Example:
        >>> import tempfile
        >>> book = ConsentBook(Path(tempfile.mkdtemp()) / "consent.jsonl", clock=lambda: 7)
        >>> book.put("u1", {"gaze": True}).sources
        {'gaze': True}
        >>> book.get("u2").sources
        {}
    """

    name = "consent"

    def __init__(self, path: str | Path, *, clock: Callable[[], int]) -> None:
        self._path, self._clock = Path(path), clock
        self._lock = threading.Lock()
        self._said, lines = _read(self._path)
        if lines > 2 * len(self._said) + 1_000:  # most were changed again since
            self._write_all()

    def get(self, user: str) -> Said:
        """What was said of a user."""
        return self._said.get(user, NOTHING)

    def put(self, user: str, said: Mapping[str, bool | None]) -> Said:
        """Change some sources; None takes back what was said.

        Raises:
            OSError: the disk is full or refuses; nothing has changed.
        """
        with self._lock:
            sources = {**self.get(user).sources, **said}
            kept: dict[str, bool] = {s: on for s, on in sources.items() if on is not None}
            new = Said(kept, self._clock())
            size = self._path.stat().st_size if self._path.exists() else 0
            try:
                with self._path.open("ab") as file:
                    file.write(_line(user, new))
                flush(self._path)
            except OSError:
                if self._path.exists():
                    with self._path.open("r+b") as file:  # half a line would spoil the next
                        file.truncate(size)
                raise
            self._said[user] = new
            return new

    def erase(self, subject: Subject) -> Mapping[str, int]:
        """See `Erasable.erase`."""
        with self._lock:
            there = int(self._said.pop(subject.user, None) is not None)
            if self._path.exists():
                self._write_all()
            return {"consents": there}

    def residue(self, subject: Subject) -> tuple[Residue, ...]:  # noqa: ARG002 - nothing is left
        """Nothing."""
        return ()

    def _write_all(self) -> None:
        replace_file(self._path, b"".join(_line(u, said) for u, said in self._said.items()))


def _line(user: str, said: Said) -> bytes:
    told = {"user": user, "said": said.sources, "at": said.at}
    return json.dumps(told).encode() + b"\n"


def _read(path: Path) -> tuple[dict[str, Said], int]:
    """What a file says, and in how many lines; half a line at the end is removed."""
    if not path.is_file():
        return {}, 0
    raw = path.read_bytes()
    whole = raw.rfind(b"\n") + 1
    if whole < len(raw):
        with path.open("r+b") as file:
            file.truncate(whole)
    found: dict[str, Said] = {}
    lines = raw[:whole].split(b"\n")[:-1]
    for number, line in enumerate(lines, start=1):
        try:
            told = json.loads(line)
            sources = {s: told["said"][s] for s in SOURCES if s in told["said"]}
            user, at = str(told["user"]), int(told["at"])
        except (ValueError, TypeError, KeyError):
            raise StoreError(f"{path}, line {number}: no consent; mend or remove it") from None
        if not all(isinstance(on, bool) for on in sources.values()):
            raise StoreError(f"{path}, line {number}: a source is neither true nor false; mend it")
        found[user] = Said(sources, at)
    return found, len(lines)
