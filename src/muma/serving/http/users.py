"""`GET` and `DELETE /v1/users/{user_id}`: what is known of a user, and its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litestar import Request, Response, delete, get

from muma.serving.http import examples
from muma.serving.http.answers import ReceiptBody, UserBody
from muma.serving.http.body import answer, path_id
from muma.serving.http.caller import Caller, caller_of
from muma.serving.http.operation import Operation, Parameter, about
from muma.serving.parts import Forgetting

USER_ID = Parameter("user_id", "The user's own id, percent-encoded.", example="u1")


@get(
    "/v1/users/{user_id:str}",
    opt=about(
        Operation(
            "Features of a user, with their freshness.",
            role="read",
            parameters=(USER_ID,),
            answer=UserBody,
            answer_example=examples.USER,
            problems=(404, 422),
        )
    ),
)
async def known(request: Request) -> Response:
    """Ask the engine."""
    caller, user = caller_of(request), path_id(request, "user_id")
    found = await caller.runtime.answer(caller.tenant.engine.user, user)
    return answer({"user": user, "known": found})


@delete(
    "/v1/users/{user_id:str}",
    status_code=200,
    opt=about(
        Operation(
            "Erase a user, known or not; the answer is the receipt.",
            role="admin",
            parameters=(USER_ID,),
            answer=ReceiptBody,
            answer_example=examples.RECEIPT,
            problems=(404, 422),
        )
    ),
)
async def erase(request: Request) -> Response:
    """Delete everything, then say so."""
    caller, user = caller_of(request), path_id(request, "user_id")
    part = caller.part(caller.tenant.forgetting, "erasure")
    return answer({"receipt": await caller.runtime.work(_erase, part, caller, user)})


def _erase(part: Forgetting, caller: Caller, user: str) -> Mapping[str, Any]:
    receipt = part.erase(user, who=caller.key.id)
    caller.audit("erase", {})  # the user's id would outlive the user there
    return receipt
