"""A learner over a stream of files, with decisions that follow from their names; run as a program, it steps on."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from muma.app.service.learning import Learner
from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.backends.stream_file import FileStream, FileStreamConfig
from muma.policy.thompson import Thompson
from muma.serving.evidence.rewards import RewardConfig

RULE = RewardConfig(kinds={"click": 0.5, "like": 1.0}, wait_s=1, late_s=0.5)
ITEMS = 4


def decision(request):
    """`r<number>` was decided at that many milliseconds and showed all items."""
    items = [SimpleNamespace(item=f"i{n}", explored=False) for n in range(ITEMS)]
    return SimpleNamespace(
        ask=SimpleNamespace(time=int(request[1:]) * 1_000),
        answer=SimpleNamespace(items=items), propensity_K=np.full(ITEMS, 0.25),
    )  # fmt: skip


def learner(folder, clock):
    """The learner, and its stream."""
    stream = FileStream(FileStreamConfig(path=str(folder / "stream"), readonly=True))
    store = LmdbStore(LmdbConfig(path=str(folder / "policy"), sync="commit"))
    made = Learner(
        Thompson(), store, stream=lambda: stream, find=decision, since=0,
        item_of=lambda name: int(name[1:]), rule=RULE, clock=clock,
    )  # fmt: skip
    return made, stream


def moment(folder):
    """Time of the newest arrival, as the parent has noted it."""
    return int((folder / "clock").read_text() or 0)


if __name__ == "__main__":
    home = Path(sys.argv[1])
    mine, _ = learner(home, lambda: moment(home))
    while True:
        mine.step()
        (home / "steps").open("a").write(".")
