"""A store that several processes write: turns, tables of others, and who is kept out."""

import fcntl
import os
import subprocess
import sys

import numpy as np
import pytest

from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.config import parse
from muma.errors import ConfigError, StoreError
from muma.features.store import Changes, Records, TableChange

# argv: folder, table; adds 1 to a record of its own table and to one of a common table, 20 times
OTHER = """
import sys
import numpy as np
from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.features.store import Changes, Records, TableChange

store = LmdbStore(LmdbConfig(path=sys.argv[1], shared=True, sync="commit"))
one = np.array([1], dtype=np.uint64)

def add(view):
    tables = [sys.argv[2], "common"]
    next_ = [b"%d" % (int(view.get(t, one)[0] or b"0") + 1) for t in tables]
    return Changes([TableChange(t, one, Records.of([n])) for t, n in zip(tables, next_)])

for _ in range(20):
    store.update(add)
store.close()
"""
ONE = np.array([1], dtype=np.uint64)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


def shared(place, **more):
    return LmdbStore(LmdbConfig(path=str(place), shared=True, sync="commit", **more))


def spawn(place, table):
    return subprocess.Popen([sys.executable, "-c", OTHER, str(place), table])


def held(store, table):
    with store.snapshot() as view:
        return int(view.get(table, ONE)[0] or b"0")


def test_processes_take_turns_and_see_each_others_tables(place):
    store = shared(place)
    others = [spawn(place, f"kind_{n}") for n in range(2)]
    for n in range(20):
        store.update(
            lambda view: Changes(
                [
                    TableChange(
                        "common",
                        ONE,
                        Records.of([b"%d" % (int(view.get("common", ONE)[0] or b"0") + 1)]),
                    )
                ]
            )
        )
        store.commit(Changes([TableChange(f"mine_{n}", ONE, Records.of([b"1"]))]))
    for other in others:
        assert other.wait(60) == 0
    assert [held(store, t) for t in ("common", "kind_0", "kind_1", "mine_19")] == [60, 20, 20, 1]
    with store.snapshot() as view:
        assert view.version == 80
        assert len(view.tables()) == 23
    store.close()
    reader = LmdbStore(LmdbConfig(path=str(place), readonly=True))
    assert held(reader, "common") == 60
    reader.close()


def test_one_who_writes_alone_and_those_who_share_keep_each_other_out(place):
    alone = LmdbStore(LmdbConfig(path=str(place)))
    with pytest.raises(StoreError, match="not with shared = true"):
        shared(place)
    alone.close()
    store = shared(place)
    with pytest.raises(StoreError, match="another process is writing"):
        LmdbStore(LmdbConfig(path=str(place)))
    with pytest.raises(StoreError, match="another process is writing"):
        LmdbStore.restore(str(place))
    store.close()
    LmdbStore(LmdbConfig(path=str(place))).close()


def test_a_turn_that_does_not_come_is_an_error_and_writes_nothing(place):
    store = shared(place, wait_s=0.05)
    stopped = os.open(place / "turn", os.O_RDWR)
    fcntl.flock(stopped, fcntl.LOCK_EX)
    with pytest.raises(StoreError, match="took longer than wait_s"):
        store.commit(Changes())
    with pytest.raises(StoreError, match="took longer than wait_s"):
        store.update(lambda _: Changes())
    os.close(stopped)
    assert store.commit(Changes()) == 1
    store.close()


@pytest.mark.parametrize("wrong", [{"sync": "snapshot"}, {"sync": "commit", "readonly": True}])
def test_sharing_needs_durable_commits(wrong):
    with pytest.raises(ConfigError, match="shared = true needs"):
        parse(LmdbConfig, {"path": "p", "shared": True, **wrong})
