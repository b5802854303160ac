"""Who asks: the key of a request, its tenant, and where work for it is done.

The guard runs before anything of the body is read. A wrong key and a missing one look alike (401); a key
without the role gets 403; whatever belongs to another tenant is not there (404).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from muma.serving.http.exposition import Metrics
from muma.serving.http.operation import OPERATION, Operation
from muma.serving.http.problem import Problem, later, not_found
from muma.serving.http.service import DoorConfig, Service
from muma.serving.keys import Key, Role
from muma.serving.limits import Limits
from muma.serving.tenants import Tenant

T = TypeVar("T")
CALLER, RUNTIME = "muma_caller", "muma"


class Runtime:
    """What one worker process shares between its requests.

    Args:
        service: what is served.
    """

    def __init__(self, service: Service) -> None:
        config = service.config
        self.service, self.metrics = service, Metrics(service.metrics_folder)
        self.limits = {tenant.name: Limits(tenant.limits) for tenant in service.tenants}
        self.draining, self.under_way, self._waiting = False, 0, 0
        self._work = ThreadPoolExecutor(config.work_threads, thread_name_prefix="muma-work")
        self._answers = (
            ThreadPoolExecutor(config.answer_threads, thread_name_prefix="muma-answer")
            if config.answer_threads
            else None
        )

    async def answer(self, call: Callable[..., T], *args: Any) -> T:
        """Ask an engine: on the event loop, or in a thread of its own pool."""
        if self._answers is None:
            return call(*args)
        return await self._run(self._answers, call, *args)

    async def work(self, call: Callable[..., T], *args: Any) -> T:
        """Do what may wait for a disk, in a thread.

        Raises:
            Problem: too much is waiting already (503).
        """
        return await self._run(self._work, call, *args)

    async def _run(self, pool: Executor, call: Callable[..., T], *args: Any) -> T:
        if self._waiting >= self.service.config.most_waiting:
            self.metrics.add("muma_turned_away_total")
            raise later("too much is waiting; send it again later", kind="busy")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                pool, partial(copy_context().run, call, *args)
            )
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the threads when their work is done."""
        self._work.shutdown()
        if self._answers is not None:
            self._answers.shutdown()


@dataclass(frozen=True, slots=True)
class Caller:
    """A request that was let in.

    Attributes:
        tenant: whose key it is.
        key: the key.
        request_id: the caller's or ours.
        now: microseconds since 1970 UTC.
        runtime: the process's.
    """

    tenant: Tenant
    key: Key
    request_id: str
    now: int
    runtime: Runtime

    @property
    def config(self) -> DoorConfig:
        """Bounds of the door."""
        return self.runtime.service.config

    def part(self, part: T | None, name: str) -> T:
        """A part of the tenant.

        Raises:
            Problem: it is not offered (404).
        """
        if part is None:
            raise not_found(name)
        return part

    def audit(self, action: str, detail: Mapping[str, Any]) -> None:
        """Keep who did what, if the tenant keeps that; called in a thread."""
        if self.tenant.audit is not None:
            self.tenant.audit.record(who=self.key.id, action=action, detail=detail)


async def guard(connection: ASGIConnection, handler: BaseRouteHandler) -> None:
    """Litestar's guard of every route: who is it, may it, not too often.

    It waits for nothing, and is asynchronous all the same: Litestar hands any other guard to a thread, at
    every request.

    Raises:
        Problem: 401, 403, 404 or 429.
    """
    operation: Operation | None = handler.opt.get(OPERATION)
    if operation is None or operation.role is None:
        return
    scope: Any = connection.scope
    runtime: Runtime = connection.app.state[RUNTIME]
    let_in(scope, runtime, _key(scope["headers"], runtime.service), operation.role)


def let_in(scope: Any, runtime: Runtime, key: Key | None, role: Role) -> Caller:
    """Let a key in, if it is good, may and does not ask too often; the request remembers it.

    Raises:
        Problem: 401, 403 or 429.
    """
    tenant = None if key is None else runtime.service.tenants.get(key.tenant)
    if key is None or tenant is None:
        raise Problem(
            401,
            "key",
            "this needs a key: send 'Authorization: Bearer muma_...' with one that is good",
            headers={"www-authenticate": "Bearer"},
        )
    scope["muma_key"] = key
    wait_s = runtime.limits[tenant.name].take(key.id, now_s=monotonic())
    if wait_s:
        problem = later("this key asks too often; slow down", after_s=wait_s)
        raise Problem(429, "too-often", problem.detail, headers=problem.headers)
    if not key.may(role):
        allowed = ", ".join(key.roles)
        raise Problem(403, "role", f"this needs a key with the role {role}; got {allowed}")
    caller = Caller(tenant, key, scope["muma_request_id"], runtime.service.clock(), runtime)
    scope[CALLER] = caller
    return caller


def caller_of(connection: ASGIConnection) -> Caller:
    """The caller that the guard let in."""
    scope: Any = connection.scope
    return scope[CALLER]


def _key(headers: Iterable[tuple[bytes, bytes]], service: Service) -> Key | None:
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.partition(b" ")
            if scheme.lower() != b"bearer" or len(token) > 200:
                return None
            return service.keys.find(token.strip().decode("latin-1"))
    return None
