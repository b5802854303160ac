"""A learner that is killed in the middle of its work, again and again, has counted every slot once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl

from learner_support import ITEMS, RULE, learner
from muma.app.service.learning import SLACK_US
from muma.backends.stream_file import FileStream, FileStreamConfig
from muma.rng import derive

KILLS = 5


def test_kills_repeat_nothing_and_leave_nothing_out(tmp_path):
    rng, rows = derive(2, "kills"), []
    clock = tmp_path / "clock"
    clock.write_text("0")
    stream = FileStream(FileStreamConfig(path=str(tmp_path / "stream"), partitions=3))
    stream.append(  # items get their numbers first
        pl.DataFrame({"user_id": ["x"] * ITEMS, "item_id": [f"i{n}" for n in range(ITEMS)],
                      "kind": ["play"] * ITEMS, "timestamp": [0] * ITEMS}),
        received_at=0,
    )  # fmt: skip
    now, tests = 0, str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": tests}
    for _ in range(KILLS):
        (tmp_path / "steps").write_text("")
        child = subprocess.Popen(
            [sys.executable, f"{tests}/learner_support.py", str(tmp_path)], env=environment
        )
        end, pieces = time.monotonic() + 60, 0
        while pieces < 30:
            assert child.poll() is None
            assert time.monotonic() < end
            if not (tmp_path / "steps").read_text():
                time.sleep(0.01)  # it is not up yet
                continue
            now += 100_000
            piece = []
            for _ in range(20):
                request = int(rng.integers(max(now // 1_000 - 2_000, 0), now // 1_000 + 1))
                at = request * 1_000 + int(rng.integers(0, 1_300_000))
                kind = str(rng.choice(["impression", "click", "like"]))
                one = (f"u{rng.integers(9)}", f"i{rng.integers(ITEMS)}", kind, at, f"r{request}")
                piece += [one] * int(rng.integers(1, 3))
            names = ["user_id", "item_id", "kind", "timestamp", "request_id"]
            stream.append(pl.DataFrame(piece, schema=names, orient="row"), received_at=now)
            draft = tmp_path / "clock.draft"
            draft.write_text(str(now))
            draft.replace(clock)
            rows += [(*row, now) for row in piece]
            pieces += 1
            time.sleep(float(rng.random()) * 0.01)
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    stream.close()
    last, files = learner(tmp_path, lambda: now + SLACK_US + 10**10)
    while last.step():
        pass
    last.step()
    found, _ = last.statistics.rows()
    best = {}
    for _, item, kind, at, request, arrived in rows:
        decided = int(request[1:]) * 1_000
        if RULE.counts(decided, at, arrived):
            weight = RULE.weight(kind)
            best[request, item] = max(weight, best.get((request, item), 0.0))
    for n in range(ITEMS):
        mine = [reward for (_, item), reward in best.items() if item == f"i{n}"]
        assert len(mine) > 100
        assert tuple(found[n, 1:3]) == (len(mine), sum(mine))
    last.close()
    files.close()
