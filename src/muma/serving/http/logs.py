"""Logs as one JSON object a line; a request's line names no person and no secret.

Every line that is written while a request is worked on holds its `request_id`, `trace_id` and `span_id`
(W3C Trace Context), and `parent_id` when a sender began the trace. The request's own line holds its method, route (the pattern, never the path), status, microseconds,
tenant and key id. Query strings, bodies and headers are never logged.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import msgspec

from muma.serving.http.trace import HERE

_encode = msgspec.json.Encoder(enc_hook=str).encode
FIELDS = ("request_id", "method", "route", "status", "us", "tenant", "key", "kind", "worker")


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON.

    Example:
        >>> record = logging.makeLogRecord({"msg": "request", "created": 0.0, "levelname": "INFO"})
        >>> JsonLines().format(record)
        '{"time":"1970-01-01T00:00:00+00:00","level":"INFO","message":"request"}'
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line; a trace goes into the field `trace`."""
        moment = datetime.fromtimestamp(record.created, tz=UTC).isoformat()
        line: dict[str, Any] = {
            "time": moment,
            "level": record.levelname,
            "message": record.getMessage(),
        }
        held = record.__dict__
        if (here := HERE.get()) is not None:
            line |= {
                "request_id": here.request_id,
                "trace_id": here.trace_id,
                "span_id": here.span_id,
            }
            line |= {} if here.parent_id is None else {"parent_id": here.parent_id}
        line.update({name: held[name] for name in FIELDS if name in held})
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return _encode(line).decode()
