"""`GET /v1/decisions/{request_id}`: the full evidence of an answer."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from litestar import Request, Response, get

from muma.serving.http import examples
from muma.serving.http.answers import DecisionBody
from muma.serving.http.body import answer, path_id
from muma.serving.http.caller import caller_of
from muma.serving.http.operation import Operation, Parameter, about
from muma.serving.http.problem import not_found
from muma.serving.recommending import Evidence
from muma.serving.tenants import Tenant

REQUEST_ID = Parameter("request_id", "As the answer gave it.", example="9f86d081884c7d65")


@get(
    "/v1/decisions/{request_id:str}",
    opt=about(
        Operation(
            "Everything an answer rested on.",
            role="read",
            parameters=(REQUEST_ID,),
            answer=DecisionBody,
            answer_example=examples.DECISION,
            problems=(404, 422),
        )
    ),
)
async def decision(request: Request) -> Response:
    """Look it up; another tenant's is not here."""
    caller, request_id = caller_of(request), path_id(request, "request_id")
    part = caller.part(caller.tenant.decisions, "the log of decisions")
    look_up = partial(part.get, caller.tenant.inside(request_id), tenant=caller.tenant.name)
    found = await caller.runtime.work(look_up)
    if found is None or found.ask.tenant != caller.tenant.name:
        raise not_found("that decision")
    return answer(_shown(found, caller.tenant))


def _shown(evidence: Evidence, tenant: Tenant) -> dict[str, Any]:
    ask = evidence.ask
    return {
        "ask": replace(ask, request_id=ask.request_id.removeprefix(tenant.prefix)),
        "answer": tenant.outside(evidence.answer),
        "columns": evidence.columns,
        "candidates": evidence.item_N,
        "values": evidence.value_NF,
        "propensities": evidence.propensity_K,
        "support": evidence.support_K,
        "floor": evidence.floor,
        "hits": evidence.hits,
        "withheld": evidence.withheld,
    }
