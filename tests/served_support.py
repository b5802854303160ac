"""A small service in real processes: granian, workers, a port of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx

from muma.serving.http.service import DoorConfig, Service
from muma.serving.keys import KeyFile
from muma.serving.parts import Taken
from muma.serving.tenants import Tenants
from muma.testing.small_service import small_tenant

RUN = """
import json, sys
from muma.config import parse
from muma.serving.http.server import ServerConfig, serve
serve(parse(ServerConfig, json.loads(sys.argv[1])))
"""


def now_us():
    """The clock of these services: UTC microseconds."""
    return time.time_ns() // 1_000


def small(folder, bounds, slow_s=0.0):
    """The factory that workers call."""
    folder = Path(folder)
    tenant = small_tenant()
    put = tenant.intake.put

    def slowly(events, *, received_at):
        time.sleep(slow_s)
        with (folder / "kept").open("a") as file:
            file.write("".join(event.event_id + "\n" for event in events))
        return Taken(len(put(events, received_at=received_at) and events))

    if slow_s:
        tenant.intake.put = slowly
    stopped = folder / f"stopped-{os.getpid()}"
    return Service(
        Tenants([tenant]),
        KeyFile(folder / "keys.json", clock=now_us),
        now_us,
        config=DoorConfig(**bounds),
        on_stop=(stopped.touch,),
        metrics_folder=str(folder / "metrics"),
    )


@contextmanager
def served(folder, *, bounds=None, slow_s=0.0, **config):
    """Start it, wait until it is ready, hand out url, key, port and process; stop it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    keys = KeyFile(folder / "keys.json", clock=now_us)
    _, token = keys.create(tenant="default", roles=("admin",), name="test")
    arguments = {"folder": str(folder), "bounds": bounds or {}, "slow_s": slow_s}
    told = {"factory": "served_support.small", "arguments": arguments, "port": port, **config}
    tests = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, json.dumps(told)],
        env={**os.environ, "PYTHONPATH": tests}, stderr=(folder / "log").open("w"),
    )  # fmt: skip
    scheme = "https" if "tls_certificate" in config else "http"
    url = f"{scheme}://127.0.0.1:{port}"
    try:
        _await_ready(url, process, folder)
        yield url, token, port, process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _await_ready(url, process, folder):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            if httpx.get(url + "/readyz", verify=False, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError((folder / "log").read_text())
