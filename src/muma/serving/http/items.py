"""`GET` and `PUT /v1/items`: the catalogue."""

from __future__ import annotations

import msgspec
from litestar import Request, Response, get, put

from muma.serving.http import examples
from muma.serving.http.answers import ItemsBody, ItemsPutBody
from muma.serving.http.body import answer, decode, query, read
from muma.serving.http.caller import Caller, caller_of
from muma.serving.http.openapi import query_parameters
from muma.serving.http.operation import Operation, about
from muma.serving.http.wire import ItemsQuery, ItemsRequest
from muma.serving.parts import Item, Items

_items = msgspec.json.Decoder(ItemsRequest)


@get(
    "/v1/items",
    opt=about(
        Operation(
            "Items by id; those that are unknown are left out.",
            role="read",
            parameters=query_parameters(ItemsQuery, examples={"item_id": ["n2"]}),
            answer=ItemsBody,
            answer_example={"items": [examples.ITEM]},
            problems=(404, 422),
        )
    ),
)
async def show(request: Request) -> Response:
    """Look them up."""
    caller = caller_of(request)
    part = caller.part(caller.tenant.items, "the catalogue")
    found = await caller.runtime.work(part.get, query(request, ItemsQuery).item_id)
    return answer(ItemsBody(tuple(found)))


@put(
    "/v1/items",
    opt=about(
        Operation(
            "Add or replace items, all or none.",
            role="write",
            body=ItemsRequest,
            body_example={"items": [examples.ITEM]},
            answer=ItemsPutBody,
            answer_example={"taken": 1, "new": 1},
            problems=(404, 507),
        )
    ),
)
async def store(request: Request) -> Response:
    """Write them."""
    caller = caller_of(request)
    part = caller.part(caller.tenant.items, "the catalogue")
    items = decode(_items, await read(request, caller.config), caller.config).items
    return answer(await caller.runtime.work(_store, part, caller, items))


def _store(part: Items, caller: Caller, items: tuple[Item, ...]) -> ItemsPutBody:
    new = part.put(items)
    caller.audit("items", {"taken": len(items), "new": new})
    return ItemsPutBody(len(items), new)
