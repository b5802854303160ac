"""`/healthz`, `/readyz` and `/metrics`: for those who run the service."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get

from muma.serving.http.answers import Fault, HealthBody
from muma.serving.http.body import answer
from muma.serving.http.caller import RUNTIME, Runtime, caller_of
from muma.serving.http.operation import Operation, about
from muma.serving.http.problem import Problem, not_found

EXPOSITION = "text/plain; version=0.0.4"


@get(
    "/healthz",
    opt=about(
        Operation(
            "The process lives.", role=None, answer=HealthBody, answer_example={"status": "lives"}
        )
    ),
)
async def healthz() -> Response:
    """Always good while the event loop turns."""
    return answer(HealthBody("lives"))


@get(
    "/readyz",
    opt=about(
        Operation(
            "The process can serve: every part says so, and it is not stopping.",
            role=None,
            answer=HealthBody,
            answer_example={"status": "ready", "time": 1_767_571_200_000_000},
        )
    ),
)
async def readyz(request: Request) -> Response:
    """Ask every part."""
    runtime: Runtime = request.app.state[RUNTIME]
    faults = [Fault("stopping")] if runtime.draining else await runtime.work(_unready, runtime)
    if faults:
        raise Problem(
            503, "not-ready", "not ready to serve", errors=faults, headers={"retry-after": "1"}
        )
    return answer(HealthBody("ready", runtime.service.clock()))


def _unready(runtime: Runtime) -> list[Fault]:
    asked = [(name, check()) for name, check in runtime.service.ready.items()]
    return [Fault(f"{name}: {reason}") for name, reason in asked if reason is not None]


@get(
    "/metrics",
    opt=about(
        Operation("Counts and times in Prometheus' text format.", role="admin", problems=(404,))
    ),
)
async def metrics(request: Request) -> Response:
    """Add up what all workers counted; for the operators' tenant only."""
    caller: Any = caller_of(request)
    if caller.tenant.name != caller.config.operators:
        raise not_found("that address")
    text = await caller.runtime.work(caller.runtime.metrics.text)
    return Response(text, media_type=EXPOSITION)
