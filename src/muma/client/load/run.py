"""One run of load against a service, from this process's single thread."""

from __future__ import annotations

import asyncio
import gc
import os
import selectors
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np

from muma.client.load.bodies import Bodies
from muma.client.load.link import TIMEOUT, Call, Link
from muma.client.load.load import ROUTES, LoadConfig, LoadResult, Route, Seen
from muma.client.load.plan import moments
from muma.errors import ConfigError

Heard = Callable[[Call, int, bytes], None]
LOOK_S = 0.1  # between two looks for requests that take too long


def run(
    url: str,
    key: str,
    config: LoadConfig = LoadConfig(),
    *,
    users: Sequence[str] = (),
    items: Sequence[str] = (),
    name: str | None = None,
    heard: Heard = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> LoadResult:
    """Send what the config says and time the answers.

    Args:
        url: of the service.
        key: one that may read and, for events, write.
        config: how much of what.
        users: ids who asks; none is anonymous.
        items: ids to rank and of events.
        name: event ids and request ids begin with it; None takes a new one.
        heard: told each request with its status and body, 0 and empty when none came.
        stop: asked now and then; True sends no more.

    Raises:
        ConfigError: the URL is none, or items are needed and not given.
    """
    if (config.rank_rps or config.events_per_s) and not items:
        raise ConfigError("events and ranking need items; name some")
    name = name or f"load-{os.urandom(5).hex()}"
    bodies = Bodies(config, users=users, items=items, name=name)
    generator = _Generator(_Target.of(url, key, name), config, bodies, heard, stop)
    # the timeout of select() is exact to microseconds, that of epoll to milliseconds
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    collecting = gc.isenabled()
    gc.disable()  # nothing here makes cycles; a pause would be charged to the service
    try:
        return loop.run_until_complete(generator.all())
    finally:
        loop.close()
        if collecting:
            gc.enable()


@dataclass(frozen=True)
class _Target:
    host: str
    port: int
    tls: ssl.SSLContext | None
    heads: dict[Route, str]

    @classmethod
    def of(cls, url: str, key: str, name: str) -> _Target:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{url!r} is no address; write http://127.0.0.1:8000")
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        port = parts.port or (443 if tls else 80)
        if any(letter in key for letter in "\r\n"):
            raise ConfigError("the key holds a line break")
        heads: dict[Route, str] = {
            route: f"POST /v1/{route} HTTP/1.1\r\nHost: {parts.hostname}:{port}\r\n"
            f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
            f"X-Request-Id: {name}-"
            for route in ROUTES
        }
        return cls(parts.hostname, port, tls, heads)

    def data(self, route: Route, number: int, body: bytes) -> bytes:
        head = f"{self.heads[route]}{number}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode("latin-1", "replace") + body


@dataclass
class _Kept:
    """Of one route."""

    at: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def seen(self) -> Seen:
        order_R = np.argsort(np.array(self.at), kind="stable")
        at_R, took_R, late_R = (np.array(one)[order_R] for one in (self.at, self.took, self.late))
        return Seen(at_R, took_R, late_R, dict(self.errors))


class _Generator:
    def __init__(
        self,
        target: _Target,
        config: LoadConfig,
        bodies: Bodies,
        heard: Heard,
        stop: Callable[[], bool],
    ) -> None:
        self._target, self._config, self._bodies = target, config, bodies
        self._heard, self._stop = heard, stop
        self._at_R, self._routes = moments(config)
        self._at = self._at_R.tolist()
        self._next = 0  # place of the next request
        self._open = 0  # requests begun and not ended
        self._links: set[Link] = set()
        self._free: list[Link] = []
        self._making = 0
        self._waiting: deque[Call] = deque()
        asked: list[Route] = [route for route in ROUTES if config.rate(route)]
        self._kept: dict[Route, _Kept] = {route: _Kept() for route in asked}
        self._start = self._last = 0.0
        self._stopped = False

    async def all(self) -> LoadResult:
        """Every request, until the last has ended."""
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        self._start = self._loop.time() + 0.05
        self._last = self._start
        cpu = time.process_time()
        if self._at:
            self._loop.call_at(self._start + self._at[0], self._leave)
            look = asyncio.ensure_future(self._look())
            await self._done.wait()
            look.cancel()
        for link in list(self._links):
            link.abort("")
        await asyncio.sleep(0)
        spent = max(self._last - self._start, 1e-9)
        return LoadResult(
            {route: kept.seen() for route, kept in self._kept.items()},
            max(self._last - self._start - self._config.warm_s, 1e-9),
            (time.process_time() - cpu) / spent,
        )

    def _leave(self) -> None:
        """Send all that is due, and come back for the next."""
        now = self._loop.time()
        while self._next < len(self._at) and self._start + self._at[self._next] <= now:
            if self._stopped:
                break
            number, route = self._next, self._routes[self._next]
            self._next += 1
            body, first = self._bodies.make(route)
            data = self._target.data(route, number, body)
            self._open += 1
            self._send(Call(number, route, self._start + self._at[number], data, first))
        if self._next < len(self._at) and not self._stopped:
            self._loop.call_at(self._start + self._at[self._next], self._leave)
        else:
            self._end_if_over()

    def _send(self, call: Call) -> None:
        if self._free:
            self._free.pop().send(call, self._loop.time())
            return
        self._waiting.append(call)
        if len(self._links) + self._making < self._config.links:
            self._making += 1
            self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        target = self._target
        try:
            _, link = await self._loop.create_connection(
                lambda: Link(self._answered, self._gone), target.host, target.port, ssl=target.tls
            )
        except OSError:
            self._making -= 1
            if self._waiting:
                self._answered(None, self._waiting.popleft(), 0, b"", "connection")
            return
        self._making -= 1
        self._links.add(link)
        self._next_on(link)

    def _next_on(self, link: Link) -> None:
        if self._waiting:
            link.send(self._waiting.popleft(), self._loop.time())
        else:
            self._free.append(link)

    def _gone(self, link: Link) -> None:
        self._links.discard(link)
        if link in self._free:
            self._free.remove(link)

    def _answered(self, link: Link | None, call: Call, status: int, body: bytes, why: str) -> None:
        now = self._loop.time()
        if link is not None and not why:
            self._next_on(link)
        at = call.due - self._start
        if at >= self._config.warm_s:
            kept = self._kept[call.route]
            kept.at.append(at)
            kept.took.append(now - call.due)
            kept.late.append((call.left or now) - call.due)
            if why or status != 200:
                kept.errors[why or str(status)] += 1
        self._last = max(self._last, now)
        self._open -= 1
        self._heard(call, status, body)
        self._end_if_over()
        if why and self._waiting and len(self._links) + self._making < self._config.links:
            self._making += 1
            self._loop.create_task(self._connect())

    def _end_if_over(self) -> None:
        if not self._open and (self._stopped or self._next >= len(self._at)):
            self._done.set()

    async def _look(self) -> None:
        """Give up what takes too long."""
        while True:
            await asyncio.sleep(LOOK_S)
            oldest = self._loop.time() - self._config.timeout_s
            for link in list(self._links):
                if link.call is not None and link.call.due < oldest:
                    link.abort(TIMEOUT)
            while self._waiting and self._waiting[0].due < oldest:
                self._answered(None, self._waiting.popleft(), 0, b"", TIMEOUT)
            if not self._stopped and self._stop():
                self._stopped = True
                self._end_if_over()
