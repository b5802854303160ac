"""`POST /v1/recommendations` and `POST /v1/rank`: the order path."""

from __future__ import annotations

import msgspec
from litestar import Request, Response, post

from muma.serving.http import examples
from muma.serving.http.answers import AnswerBody
from muma.serving.http.asking import ask_of
from muma.serving.http.body import answer, decode, read
from muma.serving.http.caller import Caller, caller_of
from muma.serving.http.operation import Operation, about
from muma.serving.http.wire import RankRequest, RecommendationRequest

_wish = msgspec.json.Decoder(RecommendationRequest)
_rank = msgspec.json.Decoder(RankRequest)


@post(
    "/v1/recommendations",
    status_code=200,
    opt=about(
        Operation(
            "A list for a user or an anonymous visitor.",
            role="read",
            body=RecommendationRequest,
            body_example=examples.RECOMMENDATION,
            answer=AnswerBody,
            answer_example=examples.ANSWER,
        )
    ),
)
async def recommend(request: Request) -> Response:
    """Fill the slots."""
    caller = caller_of(request)
    wish = decode(_wish, await read(request, caller.config), caller.config)
    return await _answered(wish, caller)


@post(
    "/v1/rank",
    status_code=200,
    opt=about(
        Operation(
            "The caller's own items in order.",
            role="read",
            body=RankRequest,
            body_example=examples.RANK,
            answer=AnswerBody,
            answer_example=examples.ANSWER,
        )
    ),
)
async def rank(request: Request) -> Response:
    """Put them in order."""
    caller = caller_of(request)
    wish = decode(_rank, await read(request, caller.config), caller.config)
    return await _answered(wish, caller)


async def _answered(wish: RecommendationRequest | RankRequest, caller: Caller) -> Response:
    evidence = await caller.runtime.answer(caller.tenant.engine.answer, ask_of(wish, caller))
    if evidence.answer.degraded:
        caller.runtime.metrics.add("muma_answers_degraded_total")
    return answer(caller.tenant.outside(evidence.answer))
