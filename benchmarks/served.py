"""What benchmarks of the service share: a trained KuaiRand recipe, and `muma serve` in a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path

from muma.app.config import read_recipe
from muma.app.service.make import keys_of
from muma.app.training import train_recipe
from muma.artifact import exists
from muma.client.load.load import LoadConfig, LoadResult
from muma.client.load.run import run
from muma.events.log_folder import open_log

HOME = Path(__file__).resolve().parents[1]
CACHE = HOME / "benchmarks" / ".cache" / "serving"
RECIPE = HOME / "recipes" / "demo.toml"
MUMA = Path(sys.executable).parent / "muma"
POOL = 78
"""Items that each of the demo's five sources proposes: 200 different ones, in the middle of users."""
SMALL = (
    'ranking.sources=["popularity", "markov"]', "ranking.list_users=200", "ranking.slices=1",
    "ranking.labels={}", "serving.pool=110",
)  # fmt: skip


def now_us() -> int:
    """The clock."""
    return time.time_ns() // 1_000


def trained(runs: str | None, *, quick: bool) -> list[str]:
    """Train the demo once and keep it in benchmarks/.cache; returns what is set over its recipe.

    A quick run trains a smaller one: two sources, few lists, one ranker.
    """
    folder = Path(runs or CACHE.with_name("serving-quick" if quick else "serving"))
    sets = [
        f"runs={str(folder.resolve())!r}", "serving.begin='test'",
        *(SMALL if quick else [f"serving.pool={POOL}"]),
    ]  # fmt: skip
    os.chdir(HOME)  # the recipe names its data from there
    config = read_recipe(RECIPE, overrides=sets)
    if not exists(config.folder / "ranking" / "rankers"):
        train_recipe(config, now_us=now_us())
    return sets


def ids(sets: Sequence[str]) -> tuple[list[str], list[str]]:
    """Users and items of the run's log."""
    log = open_log(read_recipe(RECIPE, overrides=list(sets)).folder / "log")
    return (
        [str(one) for one in log.user_ids.ids.to_list()],
        [str(one) for one in log.item_ids.ids.to_list()],
    )


@dataclass
class Server:
    """A running service.

    Attributes:
        url: its address.
        port: of it.
        key: with every role.
        process: `muma serve`; the worker is its child, and the worker's child is its pump.
        start_s: from its start until `/readyz` said so.
    """

    url: str
    port: int
    key: str
    process: subprocess.Popen[bytes]
    start_s: float

    def kill(self) -> None:
        """`kill -9` of parent and worker at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, and the time to end."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()

    def worker(self) -> int:
        """Process id of the one that answers."""
        return max(children(self.process.pid), key=lambda pid: status(pid)["VmRSS"])

    def pump(self) -> int:
        """Process id of the one that keeps features up to date, as it is now."""
        return max(children(self.worker()), key=lambda pid: status(pid)["VmRSS"])


def children(pid: int) -> list[int]:
    """Processes that a process has started, from any of its threads."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(one) for task in tasks for one in (task / "children").read_text().split()]


def status(pid: int) -> dict[str, int]:
    """Numbers of /proc/PID/status (KiB where it says so)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = {}
    for line in lines:
        name, _, value = line.partition(":")
        if value.split() and value.split()[0].isdigit():
            found[name] = int(value.split()[0])
    return found


def cpu_s(pid: int) -> float:
    """Processor seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start(recipe: str | Path, sets: Sequence[str], *, log: str | Path | None = None) -> Server:
    """Start it and wait until it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = read_recipe(recipe, overrides=list(sets))
    roles = ("read", "write", "admin")
    _, key = keys_of(config, clock=now_us).create(tenant="default", roles=roles, name="benchmark")
    flags = [flag for one in sets for flag in ("--set", one)]
    command = [str(MUMA), "serve", str(recipe), "--port", str(port), "--log-time", *flags]
    said = Path(log or tempfile.mkstemp()[1]).open("ab+")  # noqa: SIM115 - as long as the service
    began = time.perf_counter()
    env = dict(os.environ)
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has its bytecode
    process = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True, env=env)
    while time.perf_counter() - began < 300:
        if process.poll() is not None:
            said.seek(0)
            text = said.read().decode()
            raise SystemExit(f"muma serve ended with {process.returncode}:\n{text[-3000:]}")
        if ready(port):
            took = time.perf_counter() - began
            return Server(f"http://127.0.0.1:{port}", port, key, process, took)
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    raise SystemExit("muma serve did not get ready in 300 s")


@contextmanager
def serving(
    recipe: str | Path, sets: Sequence[str], *, log: str | Path | None = None
) -> Iterator[Server]:
    """`start`, and `stop` at the end."""
    server = start(recipe, sets, log=log)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


def ready(port: int) -> bool:
    """Whether `/readyz` says so."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        link.request("GET", "/readyz")
        return link.getresponse().status == 200
    except OSError:
        return False
    finally:
        link.close()


@contextmanager
def beside() -> Iterator[Pool]:
    """A process of its own for load; `pool.apply(load, ...)`."""
    with get_context("spawn").Pool(1) as pool:
        yield pool


def load(url: str, key: str, config: LoadConfig, users: list[str], items: list[str]) -> LoadResult:
    """One run of load."""
    return run(url, key, config, users=users, items=items)


class Link:
    """One connection, for one question after the other."""

    def __init__(self, server: Server) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        self._http.connect()
        self._http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._headers = {
            "authorization": f"Bearer {server.key}", "content-type": "application/json",
        }  # fmt: skip

    def post(self, path: str, body: object) -> dict:
        """A good answer's body."""
        return self._ask("POST", path, json.dumps(body).encode())

    def get(self, path: str) -> dict:
        """Likewise."""
        return self._ask("GET", path, None)

    def has(self, path: str) -> bool:
        """Whether there is such a thing: 200, or 404."""
        self._http.request("GET", path, None, self._headers)
        got = self._http.getresponse()
        got.read()
        if got.status not in (200, 404):
            raise SystemExit(f"{path} answered {got.status}")
        return got.status == 200

    def _ask(self, method: str, path: str, body: bytes | None) -> dict:
        self._http.request(method, path, body, self._headers)
        got = self._http.getresponse()
        text = got.read()
        if got.status != 200:
            raise SystemExit(f"{path} answered {got.status}: {text[:500]!r}")
        return json.loads(text)
