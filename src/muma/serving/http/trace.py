"""Which trace a request belongs to: W3C Trace Context, so that OpenTelemetry finds its way through.

    traceparent: 00-<trace id, 32 hex>-<parent id, 16 hex>-<flags, 2 hex>

A sender's good header is followed: the same trace, and a span of our own whose parent is the sender's. One
that is malformed, given twice, or not there begins a new trace (https://www.w3.org/TR/trace-context/).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass

NAME = b"traceparent"
_FORM = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")
_NO_TRACE, _NO_SPAN = b"0" * 32, b"0" * 16
SAMPLED = 1


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a request stands.

    Attributes:
        request_id: names the request.
        trace_id: of the whole trace, 32 hex digits.
        span_id: of our part of it, 16 hex digits.
        parent_id: of the sender's part; None when the trace begins here.
        sampled: whether the sender records the trace.
    """

    request_id: str
    trace_id: str
    span_id: str
    parent_id: str | None = None
    sampled: bool = False

    @property
    def header(self) -> bytes:
        """As `traceparent`, with our own span."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}".encode()


HERE: ContextVar[Trace | None] = ContextVar("muma_trace", default=None)
"""The request that is being worked on; log lines carry it."""


def trace_of(headers: Iterable[tuple[bytes, bytes]], request_id: str) -> Trace:
    """Go on with the sender's trace, or begin one.

    Example:
        >>> sent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        >>> trace = trace_of([(b"traceparent", sent)], "r1")
        >>> trace.trace_id, trace.parent_id, trace.sampled, len(trace.span_id)
        ('0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331', True, 16)
    """
    given = [value for name, value in headers if name == NAME]
    span_id = os.urandom(8).hex()
    parsed = _parsed(given[0].strip()) if len(given) == 1 else None
    if parsed is None:
        return Trace(request_id, os.urandom(16).hex(), span_id)
    trace_id, parent_id, sampled = parsed
    return Trace(request_id, trace_id, span_id, parent_id, sampled)


def _parsed(value: bytes) -> tuple[str, str, bool] | None:
    """Trace, parent and whether it is sampled; None for what no sender may send."""
    found = _FORM.fullmatch(value)
    if found is None:
        return None
    version, trace, parent, flags, rest = found.groups()
    if version == b"ff" or (version == b"00" and rest) or trace == _NO_TRACE or parent == _NO_SPAN:
        return None
    return trace.decode(), parent.decode(), bool(int(flags, 16) & SAMPLED)
