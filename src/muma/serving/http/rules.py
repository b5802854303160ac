"""`GET|PUT|DELETE /v1/rules`: the whole set, versioned; a change names the version that it changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from litestar import Request, Response, delete, get, put

from muma.serving.http import examples
from muma.serving.http.answers import RulesBody
from muma.serving.http.body import answer, check_depth, decode, path_id, read
from muma.serving.http.caller import Caller, caller_of
from muma.serving.http.operation import IF_MATCH, Operation, Parameter, about
from muma.serving.http.problem import Problem, not_found
from muma.serving.http.wire import RulesRequest
from muma.serving.parts import RuleBook, Rules

RULE_ID = Parameter("rule_id", "The rule's id, percent-encoded.", example="no-gore")
_rules = msgspec.json.Decoder(RulesRequest)


def _operation(summary: str, **more: Any) -> dict[str, Any]:
    changing = "If-Match" in [p.name for p in more.get("parameters", ())]
    problems = (404, 412, 422, 428, 507) if changing else (404,)
    return about(
        Operation(
            summary,
            answer=RulesBody,
            answer_example=examples.RULES,
            problems=problems,
            etag=True,
            **more,
        )
    )


@get("/v1/rules", opt=_operation("The rules in force.", role="read"))
async def show(request: Request) -> Response:
    """Show the version in force."""
    caller = caller_of(request)
    part = caller.part(caller.tenant.rules, "the book of rules")
    return _shown(await caller.runtime.work(part.get))


@put(
    "/v1/rules",
    opt=_operation(
        "Replace all rules.",
        role="admin",
        parameters=(IF_MATCH,),
        body=RulesRequest,
        body_example={"rules": [examples.RULE]},
    ),
)
async def replace_all(request: Request) -> Response:
    """Replace the set, if nobody else has."""
    caller = caller_of(request)
    part = caller.part(caller.tenant.rules, "the book of rules")
    match = _if_match(request)
    wish = decode(_rules, await read(request, caller.config), caller.config)
    for rule in wish.rules:
        check_depth(rule, caller.config, depth=3)
    return _shown(await caller.runtime.work(_change, part, caller, match, wish.rules))


@delete(
    "/v1/rules",
    status_code=200,
    opt=_operation("Delete all rules.", role="admin", parameters=(IF_MATCH,)),
)
async def delete_all(request: Request) -> Response:
    """Leave an empty set."""
    caller = caller_of(request)
    part = caller.part(caller.tenant.rules, "the book of rules")
    return _shown(await caller.runtime.work(_change, part, caller, _if_match(request), ()))


@delete(
    "/v1/rules/{rule_id:str}",
    status_code=200,
    opt=_operation("Delete one rule.", role="admin", parameters=(RULE_ID, IF_MATCH)),
)
async def delete_one(request: Request) -> Response:
    """Leave the set without it."""
    caller, rule_id = caller_of(request), path_id(request, "rule_id")
    part = caller.part(caller.tenant.rules, "the book of rules")
    return _shown(await caller.runtime.work(_without, part, caller, _if_match(request), rule_id))


def _without(part: RuleBook, caller: Caller, match: str, rule_id: str) -> Rules:
    held = part.get()
    left = [rule for rule in held.rules if rule.get("id") != rule_id]
    if len(left) == len(held.rules):
        raise not_found("that rule")
    return _change(part, caller, match, left)


def _change(
    part: RuleBook, caller: Caller, match: str, rules: Sequence[Mapping[str, Any]]
) -> Rules:
    before = part.get()
    if match not in ("*", before.version):
        raise Problem(412, "changed-since", "another version is in force; read it and try again")
    after = part.put(rules, version=before.version, who=caller.key.id)
    detail = {"before": before.version, "after": after.version, "rules": len(rules)}
    caller.audit("rules", detail)
    return after


def _if_match(request: Request) -> str:
    given = request.headers.get("if-match", "").strip()
    if not given:
        raise Problem(
            428,
            "version",
            "say which version is changed: send its ETag as 'If-Match', or * for any",
        )
    return given.removeprefix("W/").strip('"')


def _shown(rules: Rules) -> Response:
    body = RulesBody(rules.version, tuple(dict(rule) for rule in rules.rules))
    return answer(body, headers={"etag": f'"{rules.version}"'})
