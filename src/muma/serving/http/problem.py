"""Errors as problem+json (RFC 9457): what was got, what is allowed, and nothing of the inside.

Of the 5xx only two are ever sent: 503 (try again, `Retry-After` says when) and 507 (the disk is full).
"""

from __future__ import annotations

import errno
import logging
import math
from collections.abc import Mapping, Sequence

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from muma.errors import (
    ArtifactError,
    ConfigError,
    DataError,
    MumaError,
    RefusedError,
    RetryLater,
    SourceError,
    UnknownIdError,
    VersionConflictError,
)
from muma.serving.http.answers import Fault, ProblemBody

log = logging.getLogger("muma.http")

TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    428: "Precondition Required",
    429: "Too Many Requests",
    503: "Service Unavailable",
    507: "Insufficient Storage",
}
FULL = {errno.ENOSPC, errno.EDQUOT}
_encode = msgspec.json.Encoder().encode


class Problem(Exception):  # noqa: N818 - an answer, not a fault of the program
    """An answer other than the one that was hoped for.

    Args:
        status: HTTP status.
        kind: names the kind of problem, words joined by dashes.
        detail: what was got, what is allowed, what to do; no internals.
        errors: everything that is wrong, when there is a list.
        headers: sent with it.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        errors: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.errors, self.headers = tuple(errors), dict(headers or {})

    def body(self, request_id: str) -> bytes:
        """As JSON."""
        return _encode(
            ProblemBody(
                kind=f"urn:muma:{self.kind}",
                title=TITLES.get(self.status, "Error"),
                status=self.status,
                detail=self.detail,
                request_id=request_id,
                errors=self.errors,
            )
        )


def not_found(what: str) -> Problem:
    """The answer for what is not there, is another tenant's, or is not offered."""
    return Problem(404, "not-found", f"{what} is not here")


def later(detail: str, *, after_s: float = 1.0, kind: str = "unavailable") -> Problem:
    """The answer of a part that cannot serve now."""
    after = str(max(1, math.ceil(after_s)))
    return Problem(503, kind, detail, headers={"retry-after": after})


def is_full(error: BaseException) -> bool:
    """Whether a full disk is behind an error.

    Example:
        >>> is_full(OSError(errno.ENOSPC, "No space left on device"))
        True
        >>> is_full(OSError(errno.EIO, "Input/output error"))
        False
    """
    seen: BaseException | None = error
    for _ in range(10):
        if isinstance(seen, OSError) and seen.errno in FULL:
            return True
        seen = None if seen is None else (seen.__cause__ or seen.__context__)
    return False


def problem_of(error: Exception) -> Problem:  # noqa: PLR0911 - a table of kinds
    """The answer to an error, whoever raised it."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RetryLater):
        return later("too much is waiting; send it again later", after_s=error.after_s, kind="busy")
    if is_full(error):
        return Problem(507, "disk-full", "the disk is full: nothing was written; reads go on")
    if isinstance(error, UnknownIdError):
        return not_found("that id")
    if isinstance(error, VersionConflictError):
        return Problem(412, "changed-since", "another version is in force; read it and try again")
    if isinstance(error, RefusedError):
        return Problem(409, "refused", str(error))
    if isinstance(error, ConfigError | DataError) and not isinstance(error, SourceError):
        faults = [Fault(line) for line in str(error).splitlines()]
        return Problem(422, "invalid", faults[0].reason if faults else "invalid", errors=faults)
    if isinstance(error, HTTPException) and error.status_code < 500:
        kind = TITLES.get(error.status_code, "error").lower().replace(" ", "-")
        detail = {404: "there is no such address", 405: "this address does not take that method"}
        allow = {name.lower(): value for name, value in (error.headers or {}).items()}
        return Problem(
            error.status_code, kind, detail.get(error.status_code, "bad request"), headers=allow
        )
    if isinstance(error, MumaError | OSError):
        kind = "artifacts" if isinstance(error, ArtifactError) else "unavailable"
        return later("a part of the service cannot serve now", kind=kind)
    return later("something went wrong inside; it has been logged", kind="internal")


def noted(request: Request, error: Exception) -> tuple[Problem, str]:
    """The answer to an error and the request's id; what is the program's fault is logged and counted."""
    problem = problem_of(error)
    request_id = str(request.scope.get("muma_request_id", ""))
    if problem.status >= 500 and not isinstance(error, Problem):
        request.scope["muma_error"] = problem.kind  # pyright: ignore[reportGeneralTypeIssues]
        log.error("failed", exc_info=error, extra={"request_id": request_id, "kind": problem.kind})
    return problem, request_id


def answer_problem(request: Request, error: Exception) -> Response:
    """Litestar's handler of every exception."""
    problem, request_id = noted(request, error)
    return Response(
        problem.body(request_id),
        status_code=problem.status,
        media_type="application/problem+json",
        headers=problem.headers,
    )
