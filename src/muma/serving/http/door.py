"""Around every request: its id, the security headers, a line in the log, the counts, the way out.

The id is the caller's `X-Request-Id` when it is sane, else our own; every answer carries it, and
`traceparent` for whoever follows a trace through several services.
"""

from __future__ import annotations

import logging
import os
import re
from functools import lru_cache
from time import perf_counter_ns
from typing import Any

from litestar.types import ASGIApp, Receive, Scope, Send

from muma.serving.http.caller import Runtime
from muma.serving.http.trace import HERE, NAME, Trace, trace_of

log = logging.getLogger("muma.http.requests")

SANE = re.compile(rb"[A-Za-z0-9._:-]{1,100}")
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
UNLESS_SET: tuple[tuple[bytes, bytes], ...] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
HSTS = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")


class Door:
    """The outermost ASGI application; hands everything on to the one inside.

    Args:
        app: Litestar's.
        runtime: the process's.
    """

    def __init__(self, app: ASGIApp, runtime: Runtime) -> None:
        self.app, self.runtime = app, runtime
        self._always = HEADERS + ((HSTS,) if runtime.service.config.hsts else ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, seen = perf_counter_ns(), _Seen()
        held: Any = scope
        held["muma_request_id"] = request_id = _request_id(scope["headers"])
        trace = trace_of(scope["headers"], request_id)
        here = HERE.set(trace)
        if raw := scope.get("raw_path"):
            # routes see the path still encoded, so that an id may hold a slash
            scope["path"] = raw.partition(b"?")[0].decode("latin-1")

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                message["headers"] = self._headers(message["headers"], trace)
            await send(message)

        self.runtime.under_way += 1
        try:
            await self.app(scope, receive, sending)
        finally:
            self.runtime.under_way -= 1
            self._note(held, seen.status, perf_counter_ns() - begun)
            HERE.reset(here)

    def _headers(self, given: Any, trace: Trace) -> list[tuple[bytes, bytes]]:
        own = (b"x-request-id", trace.request_id.encode()), (NAME, trace.header)
        headers = [*given, *self._always, *own]
        names = {name for name, _ in headers}
        return headers + [pair for pair in UNLESS_SET if pair[0] not in names]

    def _note(self, scope: Any, status: int, nanoseconds: int) -> None:
        route = _route(scope.get("path_template") or "none")
        method = scope["method"] if scope["method"] in METHODS else "other"
        if "muma_error" in scope:
            kind = scope["muma_error"]
            self.runtime.metrics.add("muma_unexpected_errors_total", kind=kind)
        self.runtime.metrics.observe(
            route=route, method=method, status=status, seconds=nanoseconds / 1e9
        )
        if log.isEnabledFor(logging.INFO):
            key = scope.get("muma_key")
            log.info(
                "request",
                extra={
                    "request_id": scope["muma_request_id"],
                    "method": method,
                    "route": route,
                    "status": status,
                    "us": nanoseconds // 1000,
                    **({} if key is None else {"tenant": key.tenant, "key": key.id}),
                },
            )


METHODS = {"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"}


class _Seen:
    __slots__ = ("status",)

    def __init__(self) -> None:
        self.status = 0  # of an answer that was never begun: the caller left


@lru_cache
def _route(template: str) -> str:
    """A route as OpenAPI writes it: `/v1/users/{user_id}`."""
    return template.replace(":str}", "}")


def _request_id(headers: Any) -> str:
    for name, value in headers:
        if name == b"x-request-id" and SANE.fullmatch(value):
            return value.decode("ascii")
    return os.urandom(16).hex()
