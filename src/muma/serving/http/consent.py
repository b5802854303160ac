"""`GET` and `PUT /v1/users/{user_id}/consent`: which sources of data may be used of a user."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from litestar import Request, Response, get, put

from muma.serving.consent.consent import SOURCES, Consent, Consents
from muma.serving.http import examples
from muma.serving.http.answers import ConsentBody
from muma.serving.http.body import answer, decode, path_id, read
from muma.serving.http.caller import Caller, caller_of
from muma.serving.http.operation import Operation, about
from muma.serving.http.users import USER_ID
from muma.serving.http.wire import ConsentRequest

_wish = msgspec.json.Decoder(ConsentRequest)
WHAT = "consent"


@get(
    "/v1/users/{user_id:str}/consent",
    opt=about(
        Operation(
            "Which sources of data may be used of a user.",
            role="read",
            parameters=(USER_ID,),
            answer=ConsentBody,
            answer_example=examples.CONSENT_ANSWER,
            problems=(404, 422),
        )
    ),
)
async def show(request: Request) -> Response:
    """Look it up."""
    caller, user = caller_of(request), path_id(request, "user_id")
    part = caller.part(caller.tenant.consents, WHAT)
    return answer(_told(user, await caller.runtime.work(part.get, user)))


@put(
    "/v1/users/{user_id:str}/consent",
    opt=about(
        Operation(
            "Say what a user agrees to; what is withdrawn is not read any more, and removed.",
            role="write",
            parameters=(USER_ID,),
            body=ConsentRequest,
            body_example=examples.CONSENT,
            answer=ConsentBody,
            answer_example=examples.CONSENT_ANSWER,
            problems=(404, 507),
        )
    ),
)
async def say(request: Request) -> Response:
    """Write it down, and remove what is withdrawn."""
    caller, user = caller_of(request), path_id(request, "user_id")
    part = caller.part(caller.tenant.consents, WHAT)
    wish = decode(_wish, await read(request, caller.config), caller.config)
    said = {name: value for name in SOURCES if (value := getattr(wish, name)) is not msgspec.UNSET}
    return answer(_told(user, await caller.runtime.work(_say, part, caller, user, said)))


def _say(part: Consents, caller: Caller, user: str, said: Mapping[str, bool | None]) -> Consent:
    found = part.put(user, said)
    caller.audit("consent", {"said": dict(said)})  # the user's id would outlive the user there
    return found


def _told(user: str, found: Consent) -> ConsentBody:
    removed = tuple(dict(receipt) for receipt in found.removed)
    return ConsentBody(user, dict(found.given), dict(found.said), found.at, removed)
