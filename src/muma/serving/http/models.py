"""`/v1/models`: which artifacts answer; promote a candidate, or go back."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get, post

from muma.serving.http import examples
from muma.serving.http.answers import ModelBody, ModelsBody
from muma.serving.http.body import answer, path_id, query
from muma.serving.http.caller import Caller, caller_of
from muma.serving.http.openapi import query_parameters
from muma.serving.http.operation import Operation, Parameter, about
from muma.serving.http.wire import PromoteQuery
from muma.serving.parts import Model, Models

VERSION = Parameter("version", "As the list gives it.", example="2026-01-05")


@get(
    "/v1/models",
    opt=about(
        Operation(
            "All versions, newest first.",
            role="read",
            answer=ModelsBody,
            answer_example={"models": [examples.MODEL]},
            problems=(404,),
        )
    ),
)
async def show(request: Request) -> Response:
    """List them."""
    caller = caller_of(request)
    part = caller.part(caller.tenant.models, "the room of models")
    return answer({"models": await caller.runtime.work(part.list)})


@post(
    "/v1/models/{version:str}/promote",
    status_code=200,
    opt=about(
        Operation(
            "Make a candidate the live version, if the gate lets it.",
            role="admin",
            parameters=(VERSION, *query_parameters(PromoteQuery)),
            answer=ModelBody,
            answer_example=examples.MODEL,
            problems=(404, 409, 422, 507),
        )
    ),
)
async def promote(request: Request) -> Response:
    """Put it in, warm, without a failed request."""
    caller, version = caller_of(request), path_id(request, "version")
    part = caller.part(caller.tenant.models, "the room of models")
    force = query(request, PromoteQuery).force
    return answer(await caller.runtime.work(_promote, part, caller, version, force))


@post(
    "/v1/models/rollback",
    status_code=200,
    opt=about(
        Operation(
            "Make the previous version the live one again.",
            role="admin",
            answer=ModelBody,
            answer_example=examples.MODEL,
            problems=(404, 409, 507),
        )
    ),
)
async def roll_back(request: Request) -> Response:
    """Go back."""
    caller = caller_of(request)
    part = caller.part(caller.tenant.models, "the room of models")
    return answer(await caller.runtime.work(_roll_back, part, caller))


def _promote(part: Models, caller: Caller, version: str, force: bool) -> Any:
    return _noted(caller, "promote", part.promote(version, who=caller.key.id, force=force))


def _roll_back(part: Models, caller: Caller) -> Any:
    return _noted(caller, "roll back", part.roll_back(who=caller.key.id))


def _noted(caller: Caller, action: str, model: Model) -> Model:
    found = model.gate
    gate = {} if found is None else {"forced": found.forced, "gate": found.reason}
    caller.audit(action, {"version": model.version, **gate})
    return model
