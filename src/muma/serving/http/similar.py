"""`GET /v1/items/{item_id}/similar`."""

from __future__ import annotations

from litestar import Request, Response, get

from muma.serving.http import examples
from muma.serving.http.answers import AnswerBody
from muma.serving.http.asking import ask_near
from muma.serving.http.body import answer, path_id, query
from muma.serving.http.caller import caller_of
from muma.serving.http.openapi import query_parameters
from muma.serving.http.operation import Operation, Parameter, about
from muma.serving.http.wire import SimilarQuery

ITEM_ID = Parameter("item_id", "The item's own id, percent-encoded.", example="n2")


@get(
    "/v1/items/{item_id:str}/similar",
    opt=about(
        Operation(
            "Items near another.",
            role="read",
            parameters=(ITEM_ID, *query_parameters(SimilarQuery)),
            answer=AnswerBody,
            answer_example=examples.ANSWER,
            problems=(404, 422),
        )
    ),
)
async def similar(request: Request) -> Response:
    """Ask the engine, under the same rules as any list."""
    caller, item = caller_of(request), path_id(request, "item_id")
    ask = ask_near(query(request, SimilarQuery), caller)
    found = await caller.runtime.answer(caller.tenant.engine.similar, item, ask.count, ask)
    return answer(caller.tenant.outside(found))
