"""What the HTTP door itself costs: a real granian process, one connection, an engine that does nothing.

A second engine keeps the processor busy for 2 ms, to see whether answers belong on the event loop or in
threads. Times are measured by the client over loopback, on a machine that does both.
"""

from __future__ import annotations

import http.client
import socket
import tempfile
import threading
import time
from multiprocessing import get_context
from pathlib import Path

import httpx
import numpy as np

from common import emit, parser
from muma.serving.http.server import ServerConfig, serve
from muma.serving.http.service import DoorConfig, Service
from muma.serving.keys import KeyFile
from muma.serving.parts import Taken
from muma.serving.recommending import Answer, Ask, Evidence, ServedItem
from muma.serving.tenants import Tenant, Tenants

BODY = b'{"user":"u1","count":20,"domains":["video"],"context":{"page":"home"},"explain":false}'
NONE = np.zeros(0)


def now_us() -> int:
    """The clock."""
    return time.time_ns() // 1_000


class Idle:
    """Gives the same twenty items; keeps the processor busy for a while first."""

    def __init__(self, busy_us: int) -> None:
        self._busy_s = busy_us / 1e6
        self._items = tuple(
            ServedItem(f"i{n}", f"Title {n}", "news", 0.5, 0.5, False, {"click": 0.1}, ("als",))
            for n in range(20)
        )

    def answer(self, ask: Ask) -> Evidence:
        """Nothing is computed."""
        until = time.perf_counter() + self._busy_s
        while time.perf_counter() < until:
            pass
        answer = Answer(ask.request_id, self._items, (), {"model": "1"}, -1, {"all": 0})
        return Evidence(ask, answer, NONE, NONE, (), NONE, NONE, 0.0, ())


class Intake:
    """Takes everything, keeps nothing."""

    def put(self, events, *, received_at):  # noqa: ARG002
        """Count."""
        return Taken(len(events))


def make(folder: str, busy_us: int, threads: int) -> Service:
    """The factory of the worker."""
    tenant = Tenant("default", engine=Idle(busy_us), intake=Intake())
    keys = KeyFile(Path(folder) / "keys.json", clock=now_us)
    return Service(
        Tenants([tenant]), keys, now_us, config=DoorConfig(answer_threads=threads, work_threads=2)
    )


def latencies(port: int, token: str, path: str, body: bytes, n: int) -> np.ndarray:
    """Microseconds of `n` requests, one after the other, on one connection; the first tenth warms up."""
    link = http.client.HTTPConnection("127.0.0.1", port)
    link.connect()
    link.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    spent = []
    for _ in range(n + n // 10):
        begun = time.perf_counter_ns()
        link.request("POST", path, body, headers)
        answer = link.getresponse()
        answer.read()
        spent.append((time.perf_counter_ns() - begun) / 1_000)
        assert answer.status == 200, answer.status
    return np.array(spent[n // 10 :])


def crowd(port: int, token: str, n: int, links: int) -> tuple[np.ndarray, float]:
    """`links` connections at once; returns microseconds of all requests, and requests a second."""
    found: list[np.ndarray] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(latencies(port, token, "/v1/recommendations", BODY, n))
        )
        for _ in range(links)
    ]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = time.perf_counter() - begun
    return np.concatenate(found), links * (n + n // 10) / spent


def measured(n: int, *, busy_us: int, threads: int) -> dict[str, float]:
    """One service, started and stopped."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        keys = KeyFile(Path(folder) / "keys.json", clock=now_us)
        _, token = keys.create(tenant="default", roles=("read", "write"), name="benchmark")
        arguments = {"folder": folder, "busy_us": busy_us, "threads": threads}
        config = ServerConfig(factory="door.make", arguments=arguments, port=port)
        process = get_context("spawn").Process(target=serve, args=(config,))
        begun = time.perf_counter()
        process.start()
        ready(f"http://127.0.0.1:{port}/readyz")
        name = f"{'threads' if threads else 'loop'}_{'busy_2ms' if busy_us else 'idle'}"
        result = {f"start_s_{name}": time.perf_counter() - begun}
        try:
            alone = latencies(port, token, "/v1/recommendations", BODY, n)
            result |= percentiles(f"recommend_us_{name}", alone)
            if not busy_us and not threads:
                result |= percentiles("healthz_us", bare(port, n))
                event = b'{"event_id":"e","user_id":"u","kind":"click"}'
                result |= percentiles("event_us", latencies(port, token, "/v1/events", event, n))
                batch = b"[" + b",".join([event] * 1_000) + b"]"
                result |= percentiles(
                    "events_1000_us", latencies(port, token, "/v1/events", batch, n // 20)
                )
            spent, rate = crowd(port, token, n // 8, 8)
            result |= percentiles(f"recommend_8_at_once_us_{name}", spent)
            result[f"recommend_8_at_once_rps_{name}"] = rate
        finally:
            process.terminate()
            process.join(30)
    return result


def bare(port: int, n: int) -> np.ndarray:
    """The same loop against a route that does nothing at all: client, loopback, granian, Litestar."""
    link = http.client.HTTPConnection("127.0.0.1", port)
    link.connect()
    link.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    spent = []
    for _ in range(n):
        begun = time.perf_counter_ns()
        link.request("GET", "/healthz")
        link.getresponse().read()
        spent.append((time.perf_counter_ns() - begun) / 1_000)
    return np.array(spent)


def ready(url: str) -> None:
    """Wait for it."""
    for _ in range(600):
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.02)
    raise SystemExit(f"{url} did not get ready")


def percentiles(name: str, spent: np.ndarray) -> dict[str, float]:
    """Of microseconds."""
    return {f"{name}_p50": float(np.median(spent)), f"{name}_p99": float(np.percentile(spent, 99))}


def in_process(n: int) -> dict[str, float]:
    """The door without sockets: ASGI calls in this process, so that only our own work is counted."""
    import asyncio

    from muma.serving.http.app import build

    with tempfile.TemporaryDirectory() as folder:
        keys = KeyFile(Path(folder) / "keys.json", clock=now_us)
        _, token = keys.create(tenant="default", roles=("read",), name="benchmark")
        door = build(make(folder, 0, 0))
        headers = [
            (b"host", b"x"), (b"content-type", b"application/json"),
            (b"authorization", f"Bearer {token}".encode()),
        ]  # fmt: skip

        async def receive():
            return {"type": "http.request", "body": BODY, "more_body": False}

        async def send(message):
            assert message.get("status", 200) == 200

        async def ask():
            path = "/v1/recommendations"
            scope = {
                "type": "http", "method": "POST", "path": path, "raw_path": path.encode(),
                "root_path": "", "query_string": b"", "headers": headers, "http_version": "1.1",
                "scheme": "http", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
                "asgi": {"version": "3.0"}, "extensions": {},
            }  # fmt: skip
            await door(scope, receive, send)

        async def loop():
            spent = []
            for _ in range(n):
                begun = time.perf_counter_ns()
                await ask()
                spent.append((time.perf_counter_ns() - begun) / 1_000)
            return np.array(spent[n // 10 :])

        return percentiles("door_without_sockets_us", asyncio.run(loop()))


def main() -> None:
    """Command line."""
    flags = parser(__doc__).parse_args()
    n = 1_000 if flags.quick else 5_000
    result: dict[str, float] = {"requests": n, **in_process(n)}
    for busy_us in (0, 2_000):
        for threads in (0, 4):
            result |= measured(n // (4 if busy_us else 1), busy_us=busy_us, threads=threads)
    emit(result, as_json=flags.json)


if __name__ == "__main__":
    main()
