"""A service in a process of its own, for programs that also do something else.

The child has its own session, so that Ctrl-C reaches the program alone, which then lets the service drain.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from muma.errors import ServiceError
from muma.serving.http.server import ServerConfig

RUN = """
import json, sys
from muma.config import parse
from muma.serving.http.server import ServerConfig, serve
serve(parse(ServerConfig, json.loads(sys.argv[1])))
"""
LOOK_S = 0.05
FAILED = b"Unexpected exit"
"""What the server says of a worker that ended by itself."""


@contextmanager
def served(config: ServerConfig, *, log: Path, patience_s: float = 120.0) -> Iterator[str]:
    """Start a service, wait until it is ready, and stop it at the end.

    Args:
        config: of the service; without TLS.
        log: file that what it prints is appended to.
        patience_s: longest wait, seconds.

    Yields:
        The service's address.

    Raises:
        ServiceError: it ended or was not ready in time; with the last that it printed.
    """
    url = f"http://{config.host}:{config.port}"
    command = [sys.executable, "-c", RUN, json.dumps(config.model_dump(mode="json"))]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as said:
        child = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)  # noqa: S603 - our own code
    try:
        _await(child, config, log, patience_s)
        yield url
    finally:
        child.terminate()
        try:
            child.wait(config.stop_s + 5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _await(
    child: subprocess.Popen[bytes], config: ServerConfig, log: Path, patience_s: float
) -> None:
    until, began_at = time.monotonic() + patience_s, log.stat().st_size
    while child.poll() is None and time.monotonic() < until and not _failed(log, began_at):
        if _ready(config):
            return
        time.sleep(LOOK_S)
    why = (
        "failed" if child.poll() is not None or _failed(log, began_at) else "was not ready in time"
    )
    last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
    raise ServiceError("\n".join([f"the service {why}; the end of {log}:", *last]))


def _ready(config: ServerConfig) -> bool:
    with closing(HTTPConnection(config.host, config.port, timeout=5.0)) as link:
        try:
            link.request("GET", "/readyz")
            return link.getresponse().status == HTTPStatus.OK
        except (OSError, HTTPException):
            return False


def _failed(log: Path, begin: int) -> bool:
    """Whether a worker ended by itself; the server would start it again and again."""
    with log.open("rb") as file:
        file.seek(begin)
        return FAILED in file.read()
