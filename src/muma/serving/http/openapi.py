"""The OpenAPI 3.1 document, made from what each route says of itself and the very types it decodes with.

msgspec writes the schemas, so that every bound that is enforced is said: lengths, ranges, patterns,
no unknown fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from muma import __version__
from muma.serving.http.answers import (
    AnswerBody,
    ConsentBody,
    DecisionBody,
    EventsBody,
    HealthBody,
    ItemsBody,
    ItemsPutBody,
    ModelBody,
    ModelsBody,
    PreviewBody,
    ProblemBody,
    ReceiptBody,
    RulesBody,
    UserBody,
)
from muma.serving.http.body import JSON
from muma.serving.http.operation import OPERATION, Operation, Parameter, about
from muma.serving.http.problem import TITLES
from muma.serving.http.wire import (
    ConsentRequest,
    ItemsRequest,
    PreviewRequest,
    RankRequest,
    RecommendationRequest,
    RulesRequest,
)
from muma.serving.parts import Event, Item

REF = "#/components/schemas/{name}"
TYPES = (
    AnswerBody,
    ConsentBody,
    ConsentRequest,
    DecisionBody,
    Event,
    EventsBody,
    HealthBody,
    Item,
    ItemsBody,
    ItemsPutBody,
    ItemsRequest,
    ModelBody,
    ModelsBody,
    PreviewBody,
    PreviewRequest,
    ProblemBody,
    RankRequest,
    ReceiptBody,
    RecommendationRequest,
    RulesBody,
    RulesRequest,
    UserBody,
)
REQUEST_ID_HEADER = {
    "X-Request-Id": {
        "description": "Names the request; the sender's own when it is sane.",
        "schema": {"type": "string"},
        "required": True,
    },
    "traceparent": {
        "description": "W3C Trace Context: the sender's trace, or a new one, and the service's own span.",
        "schema": {"type": "string", "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$"},
        "required": True,
    },
}


def query_parameters(
    kind: type[Any], *, examples: Mapping[str, Any] | None = None
) -> tuple[Parameter, ...]:
    """A query's fields as parameters."""
    (schema,), components = msgspec.json.schema_components([kind], ref_template=REF)
    table = components[schema["$ref"].rpartition("/")[2]]
    return tuple(
        Parameter(
            name,
            f"As in the type {kind.__name__}.",
            where="query",
            schema=_not_null(fields),
            example=(examples or {}).get(name),
            required=name in table["required"],
        )
        for name, fields in table["properties"].items()
    )


def _not_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A query string knows no null: what is absent is absent."""
    kept = {key: value for key, value in schema.items() if not (key == "default" and value is None)}
    if "anyOf" in kept:
        kept.update(next(one for one in kept.pop("anyOf") if one != {"type": "null"}))
    return kept


def document(handlers: Iterable[HTTPRouteHandler]) -> dict[str, Any]:
    """The whole document.

    Args:
        handlers: those that say what they are; others are left out.
    """
    paths: dict[str, dict[str, Any]] = {}
    for handler in handlers:
        operation: Operation | None = handler.opt.get(OPERATION)
        if operation is None:
            continue
        for path in handler.paths:
            plain = re.sub(r"\{(\w+):str\}", r"{\1}", path)
            for method in handler.http_methods:
                name = f"{handler.fn.__module__.rpartition('.')[2]}.{handler.fn.__name__}"
                paths.setdefault(plain, {})[method.lower()] = _operation(operation, name)
    _, components = msgspec.json.schema_components(TYPES, ref_template=REF)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "MUMA",
            "version": __version__,
            "description": "Recommendations that prove what they did. Times are microseconds since "
            "1970 UTC; ids are the caller's own, 1 to 200 characters. Errors are problem+json "
            "(RFC 9457).",
        },
        "servers": [{"url": "/"}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "bearerFormat": "muma_<id>_<secret>"}
            },
        },
    }


def _operation(operation: Operation, name: str) -> dict[str, Any]:
    told: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": name,
        "responses": _responses(operation),
    }
    if operation.role is not None:
        told["security"] = [{"key": []}]
        told["description"] = f"Needs a key with the role {operation.role}."
    if operation.parameters:
        told["parameters"] = [_parameter(parameter) for parameter in operation.parameters]
    if operation.body is not None:
        content = {"schema": _schema(operation.body), "example": operation.body_example}
        told["requestBody"] = {"required": True, "content": {JSON: content}}
    return told


def _responses(operation: Operation) -> dict[str, Any]:
    headers = dict(REQUEST_ID_HEADER)
    if operation.etag:
        headers["ETag"] = {
            "schema": {"type": "string"},
            "required": True,
            "description": "Version.",
        }
    if operation.answer is None:
        content: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
    else:
        shown = {"schema": _schema(operation.answer), "example": operation.answer_example}
        content = {JSON: shown}
    told = {"200": {"description": "Good.", "headers": headers, "content": content}}
    statuses = {400, 503, *operation.problems}
    if operation.role is not None:
        statuses |= {401, 403, 429}
    if operation.body is not None:
        statuses |= {408, 413, 415, 422}
    for status in sorted(statuses):
        told[str(status)] = {
            "description": TITLES[status],
            "headers": REQUEST_ID_HEADER,
            "content": {"application/problem+json": _problem(status)},
        }
    return told


def _problem(status: int) -> dict[str, Any]:
    example = {
        "type": "urn:muma:" + TITLES[status].lower().replace(" ", "-"),
        "title": TITLES[status],
        "status": status,
        "detail": "what was got, what is allowed, what to do",
        "request_id": "9f86d081884c7d65",
        "errors": [],
    }
    return {"schema": {"$ref": REF.format(name="ProblemBody")}, "example": example}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    told = {
        "name": parameter.name,
        "in": parameter.where,
        "description": parameter.explained,
        "required": parameter.required,
        "schema": dict(parameter.schema),
    }
    return told if parameter.example is None else {**told, "example": parameter.example}


def _schema(kind: Any) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=REF)
    return dict(schema)


def schema_route(handlers: Iterable[HTTPRouteHandler]) -> HTTPRouteHandler:
    """`GET /schema`: the document, encoded once."""
    text = msgspec.json.encode(document(handlers))

    @get(
        "/schema",
        sync_to_thread=False,
        opt=about(Operation("This document.", role=None)),
    )
    def schema() -> Response:
        """The OpenAPI document."""
        return Response(text, media_type="application/vnd.oai.openapi+json; version=3.1")

    return schema
