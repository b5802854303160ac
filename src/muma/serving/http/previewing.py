"""`POST /v1/rules/preview`: what other rules would change for some users; nothing is changed or kept."""

from __future__ import annotations

from functools import partial

import msgspec
from litestar import Request, Response, post

from muma.serving.http import examples
from muma.serving.http.answers import ChangeBody, ConflictBody, MoveBody, PreviewBody, TouchBody
from muma.serving.http.body import answer, check_depth, decode, read
from muma.serving.http.caller import Caller, caller_of
from muma.serving.http.operation import Operation, about
from muma.serving.http.wire import PreviewRequest
from muma.serving.recommending import Ask
from muma.serving.rules.preview import Change, Preview

_wish = msgspec.json.Decoder(PreviewRequest)


@post(
    "/v1/rules/preview",
    status_code=200,
    opt=about(
        Operation(
            "What other rules would change for some users.",
            role="write",
            body=PreviewRequest,
            body_example=examples.PREVIEW,
            answer=PreviewBody,
            answer_example=examples.PREVIEW_ANSWER,
            problems=(404,),
        )
    ),
)
async def preview(request: Request) -> Response:
    """Answer everybody twice."""
    caller = caller_of(request)
    part = caller.part(caller.tenant.previews, "the preview of rules")
    wish = decode(_wish, await read(request, caller.config), caller.config)
    for rule in wish.rules:
        check_depth(rule, caller.config, depth=3)
    found = await caller.runtime.work(partial(part.preview, wish.rules, _asks(wish, caller)))
    return answer(told(found))


def told(found: Preview) -> PreviewBody:
    """A preview as it is sent."""
    return PreviewBody(
        before=found.versions[0],
        after=found.versions[1],
        changed=found.changed,
        differ=found.differ,
        untried=tuple(rule for rule in found.differ if rule not in found.tried),
        conflicts=tuple(ConflictBody(one.rules, one.text) for one in found.conflicts),
        changes=tuple(_change(one) for one in found.changes),
        touched=tuple(TouchBody(*key, *counts) for key, counts in found.touched.items()),
    )


def _change(one: Change) -> ChangeBody:
    before = {item: slot for slot, item in enumerate(one.before)}
    after = {item: slot for slot, item in enumerate(one.after)}

    def moves(items: tuple[str, ...]) -> tuple[MoveBody, ...]:
        return tuple(
            MoveBody(item, before.get(item), after.get(item), tuple(one.causes.get(item, ())))
            for item in items
        )

    moved = moves(tuple(move.item for move in one.moved))
    return ChangeBody(
        one.user or "", one.known, one.before, one.after, moves(one.left), moves(one.entered), moved
    )


def _asks(wish: PreviewRequest, caller: Caller) -> list[Ask]:
    """One request a user; equal ones draw equally."""
    return [
        Ask(
            f"preview:{user}", caller.now, tenant=caller.tenant.name, user=user, count=wish.count,
            context=wish.context, region=wish.region, age=wish.age,
        )
        for user in wish.users
    ]  # fmt: skip
