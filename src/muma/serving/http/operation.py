"""What a route says of itself: its role for the guard, its types and examples for OpenAPI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from muma.serving.keys import Role
from muma.serving.parts import TEXT

OPERATION = "operation"


@dataclass(frozen=True)
class Parameter:
    """A part of the address or a header.

    Attributes:
        name: as written.
        explained: one sentence.
        where: `path`, `query` or `header`.
        schema: JSON schema.
        example: a value.
        required: always, in a path.
    """

    name: str
    explained: str
    where: str = "path"
    schema: Mapping[str, Any] = field(
        default_factory=lambda: {
            "type": "string",
            "minLength": 1,
            "maxLength": 200,
            "pattern": TEXT,
        }
    )
    example: Any = "u1"
    required: bool = True


@dataclass(frozen=True)
class Operation:
    """One method of one address.

    Attributes:
        summary: one sentence.
        role: what a key must be allowed; None lets anybody in.
        answer: type of the answer; None is text.
        answer_example: plain data.
        body: type of the body; None for none.
        body_example: plain data.
        parameters: of path, query and headers.
        problems: statuses it may answer with, beside those of every operation.
        etag: whether the answer carries a version.
    """

    summary: str
    role: Role | None
    answer: Any = None
    answer_example: Any = None
    body: Any = None
    body_example: Any = None
    parameters: tuple[Parameter, ...] = ()
    problems: tuple[int, ...] = ()
    etag: bool = False


IF_MATCH = Parameter(
    "If-Match",
    "The version that is to be changed, as the ETag gave it; * is any.",
    where="header",
    schema={"type": "string", "minLength": 1, "maxLength": 300, "pattern": "^[!-~]+$"},
    example='"3f2a"',
)


def about(operation: Operation) -> dict[str, Any]:
    """The `opt` of a Litestar route."""
    return {OPERATION: operation}
