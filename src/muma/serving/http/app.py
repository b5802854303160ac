"""The service as an ASGI application.

from muma.serving.http.app import build
app = build(Service(tenants=Tenants([Tenant("default", engine=engine)]), keys=keys, clock=clock))
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from time import monotonic

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler

from muma.errors import StoreError
from muma.serving.http import (
    consent,
    decisions,
    events,
    health,
    items,
    models,
    previewing,
    recommendations,
    rules,
    similar,
    users,
)
from muma.serving.http.caller import RUNTIME, Runtime, guard
from muma.serving.http.door import Door
from muma.serving.http.openapi import schema_route
from muma.serving.http.problem import answer_problem
from muma.serving.http.service import Service
from muma.serving.page.routes import PAGE

log = logging.getLogger("muma.http")

ROUTES: tuple[HTTPRouteHandler, ...] = (
    recommendations.recommend,
    recommendations.rank,
    events.take,
    similar.similar,
    users.known,
    users.erase,
    consent.show,
    consent.say,
    decisions.decision,
    items.show,
    items.store,
    rules.show,
    rules.replace_all,
    rules.delete_all,
    rules.delete_one,
    previewing.preview,
    models.show,
    models.promote,
    models.roll_back,
    health.healthz,
    health.readyz,
    health.metrics,
)


def build(service: Service, *, routes: Sequence[HTTPRouteHandler] = ()) -> Door:
    """The application of one worker process.

    Args:
        service: what is served.
        routes: more Litestar routes; without an `Operation` anybody may call them.
    """
    runtime, config = Runtime(service), service.config
    cors = None
    if config.origins:
        cors = CORSConfig(
            allow_origins=list(config.origins),
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=[
                "authorization",
                "content-type",
                "if-match",
                "x-request-id",
                "traceparent",
            ],
            expose_headers=["etag", "x-request-id", "traceparent"],
        )
    app = Litestar(
        [*ROUTES, schema_route(ROUTES), *([PAGE] if config.page else []), *routes],
        guards=[guard],
        exception_handlers={Exception: answer_problem},
        lifespan=[_life(runtime)],
        state=State({RUNTIME: runtime}),
        cors_config=cors,
        openapi_config=None,
        logging_config=None,
        request_max_body_size=config.most_bytes,
        debug=False,
    )
    return Door(app, runtime)


def _life(runtime: Runtime):  # noqa: ANN202 - the type is Litestar's
    @asynccontextmanager
    async def life(_: Litestar) -> AsyncIterator[None]:
        service = runtime.service
        for begin in service.on_start:
            await asyncio.to_thread(begin)
        leaving = asyncio.create_task(_leave_metrics(runtime))
        log.info("started")
        try:
            yield
        finally:
            runtime.draining = True
            await _drained(runtime)
            leaving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await leaving
            await asyncio.to_thread(_stop, runtime)
            log.info("stopped")

    return life


async def _drained(runtime: Runtime) -> None:
    """Wait for the requests under way, as long as the config says."""
    until = monotonic() + runtime.service.config.drain_s
    while runtime.under_way and monotonic() < until:
        await asyncio.sleep(0.01)
    if runtime.under_way:
        log.warning("stopping with %d requests under way", runtime.under_way)


async def _leave_metrics(runtime: Runtime) -> None:
    while True:
        await asyncio.sleep(1.0)
        _leave(runtime)


def _leave(runtime: Runtime) -> None:
    try:
        runtime.metrics.leave()
    except StoreError as error:  # counts that cannot be shared stop nobody from serving
        log.warning("%s", error)


def _stop(runtime: Runtime) -> None:
    with ExitStack() as stack:
        for end in reversed(runtime.service.on_stop):
            stack.callback(end)
        runtime.close()
        _leave(runtime)
