"""A byte stream made safe for a parser that trips over bytes that are not UTF-8.

Each invalid byte is passed on as `MARK`, a code point that Unicode reserves for such internal use,
so the parser goes on and the reader can still tell which values were damaged.
"""

from __future__ import annotations

import codecs
import io
import time
from typing import IO

MARK = "\ufdd0"
_ESCAPED = dict.fromkeys(range(0xDC80, 0xDD00), MARK)  # what "surrogateescape" decodes to
PATIENCE_MS = 500  # an idle parser never looks again


class SafeStream(io.RawIOBase):
    """Reads `stream`, marking invalid UTF-8 and counting quotes.

    Attributes:
        damaged: whether an invalid byte was met so far.
        quotes: double quotes met so far.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self.damaged = False
        self.quotes = 0
        self._stopped = self._ended = self._inside = False
        self._stream = stream
        self._rest = b""  # read, not yet decodable: the head of a character
        self._ready = b""  # decoded, not yet handed out

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """`size` bytes of valid UTF-8, fewer only at the end."""
        self._inside = True
        try:
            return self._read(size)
        finally:
            self._inside = False

    def _read(self, size: int) -> bytes:
        while not self._stopped and (size < 0 or len(self._ready) < size):
            fresh = self._next(size)
            self._ready += fresh
            if not fresh:
                break
        if self._stopped or not self._ready:
            self._ended = True
            return b""
        end = len(self._ready) if size < 0 else size
        given, self._ready = self._ready[:end], self._ready[end:]
        return given

    def stop(self) -> None:
        """End the stream and wait until the parser's reading thread has seen that.

        A thread that still reads when Python shuts down would abort the process: a read under way is
        waited for, however slow the disk or the machine.
        """
        self._stopped = True
        waited_ms = 0
        while not self._ended and waited_ms < PATIENCE_MS:
            waited_ms += not self._inside
            time.sleep(0.001)

    def _next(self, size: int) -> bytes:
        while chunk := self._stream.read(size):
            self.quotes += chunk.count(b'"')
            data = self._rest + chunk
            try:
                used = codecs.utf_8_decode(data, "strict", False)[1]
                self._rest, safe = data[used:], data[:used]
            except UnicodeDecodeError:
                safe, self._rest = self._marked(data, final=False)
            if safe:
                return safe
        safe, self._rest = self._marked(self._rest, final=True)
        return safe

    def _marked(self, data: bytes, *, final: bool) -> tuple[bytes, bytes]:
        text, used = codecs.utf_8_decode(data, "surrogateescape", final)
        marked = text.translate(_ESCAPED)
        self.damaged = self.damaged or marked != text
        return marked.encode("utf-8"), data[used:]
