"""A disk that is really full: writes are refused, reads go on, and all recovers when there is room."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from muma.app.config import read_recipe
from muma.app.training import train_recipe
from ranked_support import BLOCKS, WANTED, write_feed

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from served import serving


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MiB in memory; only a superuser may have one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(path):
    """Write until there is no room at all."""
    with path.open("wb", buffering=0) as file:
        for piece in (1 << 20, 4_096, 1):
            try:
                while file.write(bytes(piece)) == piece:
                    pass
            except OSError:
                continue


def batch(name, n=50):
    return [
        {
            "event_id": f"{name}-{i}",
            "user_id": f"u{i % 20}",
            "kind": "click",
            "item_id": f"a{i % 20}",
        }
        for i in range(n)
    ]


def test_writes_are_refused_reads_go_on_and_all_recovers(tmp_path, small_disk):
    recipe = write_feed(tmp_path / "feed", blocks=BLOCKS + WANTED)
    train_recipe(read_recipe(recipe))
    sets = [f"runs={str(small_disk)!r}"]
    shutil.copytree(tmp_path / "feed" / "runs" / "feed", small_disk / "feed")
    ballast = small_disk / "ballast"
    with serving(recipe, sets, log=tmp_path / "log") as server:
        key = {"authorization": f"Bearer {server.key}"}
        with httpx.Client(base_url=server.url, headers=key, timeout=30) as http:

            def send(name):
                return http.post("/v1/events", json=batch(name)).status_code

            def ask():
                answer = http.post("/v1/recommendations", json={"user": "u1", "count": 5})
                return answer.status_code, len(answer.json()["items"])

            assert send("before") == 200
            assert ask() == (200, 5)
            fill(ballast)
            refused = [send(f"full-{n}") for n in range(60)]
            assert set(refused) <= {200, 503, 507}
            assert refused[-10:] != [200] * 10
            assert {ask() for _ in range(20)} == {(200, 5)}
            ballast.unlink()
            until = time.monotonic() + 20
            while send(f"after-{time.monotonic_ns()}") != 200 or not ready(http):
                assert time.monotonic() < until, http.get("/readyz").text
                time.sleep(0.2)
            event = {"event_id": "last", "user_id": "late", "kind": "click", "item_id": "a3"}
            assert http.post("/v1/events", json=event).status_code == 200
            while "a3" not in http.get("/v1/users/late").text:
                assert time.monotonic() < until
                time.sleep(0.05)


def ready(http):
    return http.get("/readyz").status_code == 200
