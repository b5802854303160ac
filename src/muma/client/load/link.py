"""One kept-alive connection of HTTP/1.1: a request out, its answer in, nothing more than load needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from muma.client.load.load import Route

CONNECTION, TIMEOUT, UNREADABLE = "connection", "timeout", "unreadable"


@dataclass(slots=True)
class Call:
    """A request.

    Attributes:
        number: of the run, from 0.
        route: what it asks.
        due: when it should leave, the loop's clock.
        data: head and body.
        first: number of the first event of a batch.
        left: when it left; 0 before.
    """

    number: int
    route: Route
    due: float
    data: bytes
    first: int = 0
    left: float = 0.0


class Link(asyncio.Protocol):
    """A connection with at most one request under way.

    Args:
        answered: told the link, the call, its status (0 for none), the body and the kind of failure,
            "" for an answer that came whole.
        gone: told when the connection has ended.
    """

    def __init__(
        self,
        answered: Callable[[Link, Call, int, bytes, str], None],
        gone: Callable[[Link], None],
    ) -> None:
        self._answered, self._gone = answered, gone
        self._transport: asyncio.Transport | None = None
        self._got = bytearray()
        self._need = 0  # bytes of head and body; 0 while the head is not whole
        self._body = 0
        self.call: Call | None = None
        self.why = CONNECTION

    def send(self, call: Call, now: float) -> None:
        """Write a request; the link must be free."""
        self.call, call.left = call, now
        if self._transport is not None:
            self._transport.write(call.data)

    def abort(self, why: str) -> None:
        """End the connection; the request under way has failed."""
        self.why = why
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream's always is
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._got += data
        if not self._need:
            end = self._got.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _length(bytes(self._got[:end]))
            if length is None:
                self.abort(UNREADABLE)
                return
            self._body = end + 4
            self._need = self._body + length
        if len(self._got) < self._need or self.call is None:
            return
        got, call = bytes(self._got[: self._need]), self.call
        del self._got[: self._need]
        body, self._need, self.call = got[self._body :], 0, None
        self._answered(self, call, int(got[9:12]), body, "")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - all ends are alike
        """See `asyncio.Protocol`."""
        self._transport = None
        call, self.call = self.call, None
        self._gone(self)
        if call is not None:
            self._answered(self, call, 0, b"", self.why)


def _length(head: bytes) -> int | None:
    """Bytes of the body as the head says; None when it does not."""
    place = head.lower().find(b"\r\ncontent-length:")
    if place < 0 or not head.startswith(b"HTTP/1.1 ") or not head[9:12].isdigit():
        return None
    said = head[place + 17 :].split(b"\r\n", 1)[0].strip()
    return int(said) if said.isdigit() else None
