"""After forgetting and purging, no file of a store holds a byte of what was removed."""

import shutil
import subprocess
from contextlib import suppress

import numpy as np
import polars as pl
import pytest

from muma.backends import lmdb_purge
from muma.backends.lmdb_purge import purge
from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.backends.state_memory import MemoryStore
from muma.errors import StoreError
from muma.features.forget import forget, holds
from muma.features.online.engine import _ipc
from muma.features.store import Changes, Records, TableChange
from store_support import start

ME = 7
PAIRS = [("user x category", 0), ("category x user", 1), ("friends x domain", 0)]


def keys(*values):
    return np.array(values, dtype=np.uint64)


def both(first, second):
    return keys(*(a << 32 | b for a in first for b in second))


def change(table, at, secret=b""):
    values = [b"<%d> of %s %s " % (key, table.encode(), secret) * 20 for key in at.tolist()]
    return TableChange(table, at, Records.of(values))


def filled(store):
    """Several commits, so that there are free pages and gaps."""
    users = keys(*range(40))
    quarantined = pl.DataFrame({"user_id": [ME, 3, None], "dwell_ms": [1, 2, 3]},
                               schema_overrides={"user_id": pl.UInt32})  # fmt: skip
    for turn in range(5):
        store.commit(Changes(
            [
                change("user", users, b"turn %d" % turn), change("friends", users),
                change("user x category", both(range(40), range(5)), b"%d" % turn),
                change("category x user", both(range(5), range(40))),
                change("friends x domain", both(range(40), range(2))),
                change("item", users), change("item x category", both(range(9), range(9))),
            ],
            {0: turn},
            {"quarantine/1": _ipc(quarantined), "quarantine/2": _ipc(quarantined[:1]),
             "quarantine/3": _ipc(quarantined[1:]), "counters": b"5"},
        ))  # fmt: skip
    return store


def shown(store, *, without=None):
    """Everything in a store, without a user's keys."""
    found = {}
    with store.snapshot() as view:
        for table in view.tables():
            parts = table.split(" x ")
            for piece, records in view.scan(table):
                for place, key in enumerate(piece.tolist()):
                    ids = [key] if len(parts) == 1 else [key >> 32, key & 0xFFFFFFFF]
                    mine = any(
                        p in ("user", "friends") and i == without
                        for p, i in zip(parts, ids, strict=True)
                    )
                    if not mine:
                        found[table, key] = records[place]
        rest = dict(view.blobs("counters")), view.offsets()
    return found, rest


def quarantined(store):
    with store.snapshot() as view:
        return {
            name: pl.read_ipc(blob).get_column("user_id").to_list()
            for name, blob in view.blobs("quarantine/")
        }


@pytest.mark.parametrize("kind", ["memory", "lmdb"])
def test_only_one_user_is_forgotten(tmp_path, kind):
    store = MemoryStore() if kind == "memory" else LmdbStore(LmdbConfig(path=str(tmp_path)))
    filled(store)
    wanted, before = shown(store, without=ME), shown(store)
    assert holds(store, ME) == 2 + 5 + 5 + 2
    assert forget(store, ME) == 14
    assert shown(store) == wanted != before
    assert quarantined(store) == {"quarantine/1": [3, None], "quarantine/3": [3, None]}
    with store.snapshot() as view:
        version = view.version
    assert forget(store, ME) == holds(store, ME) == 0
    assert forget(store, 999) == 0
    with store.snapshot() as view:
        assert view.version == version
    store.close()


def texts(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_no_file_holds_what_was_forgotten(tmp_path):
    place = tmp_path / "store"
    config = LmdbConfig(path=str(place))
    store = filled(LmdbStore(config))
    store.checkpoint()
    store.commit(Changes([change("user", keys(ME), b"newer")]))
    store.close()
    shutil.copytree(place / "live", place / "live.damaged-1")
    shutil.copytree(place / "snapshots", tmp_path / "copy")
    needles = [
        b"USER:7:",
        b"FRIENDS:7:",
        b"<7> of user ",
        b"CATEGORY:3:USER:7:",
        b"<7> of friends ",
    ]
    assert all(needle in texts(place) for needle in needles)
    reader = start(READ, place, stdin=subprocess.PIPE)
    assert ask(reader) == "14 400"
    store = LmdbStore(config)
    forget(store, ME)
    wanted = shown(store)
    with store.snapshot() as view:
        version = view.version
    with pytest.raises(StoreError, match="another process is writing"):
        purge(str(place))
    store.close()
    assert any(needle in texts(place) for needle in needles)  # a removal alone is not enough
    assert purge(str(place)) == version
    assert not [needle for needle in needles if needle in texts(place)]
    assert b"USER:8:" in texts(place)
    assert ask(reader) == "0 390"  # it went over to the new file
    reader.kill()
    reader.wait()
    for _ in range(2):
        store = LmdbStore(config)
        assert shown(store) == wanted
        assert store.durable_offsets() == {0: 4}
        store.close()
        assert purge(str(place)) == version
    LmdbStore.restore(str(place))
    store = LmdbStore(config)
    assert shown(store) == wanted
    store.commit(Changes([change("user", keys(ME))], {0: 9}))
    assert store.checkpoint() == version + 1
    store.close()


# says, for every line it reads, how many keys are the user's, and how many pairs of users there are
READ = """
from muma.features.forget import holds
store = LmdbStore(LmdbConfig(path=sys.argv[1], readonly=True))
print("ready", flush=True)
for _ in sys.stdin:
    with store.snapshot() as view:
        pairs = sum(view.count(t) for t in ("user x category", "category x user"))
    print(holds(store, 7), pairs, flush=True)
"""


def ask(process):
    process.stdin.write("?\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_a_reader_of_this_process_goes_over_too(tmp_path):
    config = LmdbConfig(path=str(tmp_path))
    filled(LmdbStore(config)).close()
    reader = LmdbStore(LmdbConfig(path=str(tmp_path), readonly=True))
    before = shown(reader)
    with reader.snapshot() as view:
        purge(str(tmp_path))
        assert view.count("user") == 40  # the old file, until it is closed
    assert shown(reader) == before
    reader.close()


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", range(1, 12))
def test_a_kill_at_any_step_can_be_gone_on_from(tmp_path, monkeypatch, at):
    config = LmdbConfig(path=str(tmp_path))
    store = filled(LmdbStore(config))
    store.checkpoint()
    forget(store, ME)
    wanted = shown(store)
    store.close()
    left = [at]

    def dying(call):
        def step(*arguments, **options):
            left[0] -= 1
            if left[0] <= 0:
                raise Killed
            return call(*arguments, **options)

        return step

    with monkeypatch.context() as patched:
        patched.setattr(lmdb_purge, "flush", dying(lmdb_purge.flush))
        patched.setattr(lmdb_purge, "_copy", dying(lmdb_purge._copy))
        patched.setattr(lmdb_purge.Path, "rename", dying(lmdb_purge.Path.rename))
        for name in ("rmtree", "copyfile"):
            patched.setattr(lmdb_purge.shutil, name, dying(getattr(shutil, name)))
        with suppress(Killed):
            purge(str(tmp_path))
    purge(str(tmp_path))
    assert b"USER:7:" not in texts(tmp_path)
    store = LmdbStore(config)
    assert shown(store) == wanted
    store.close()


def test_a_store_that_is_none(tmp_path):
    with pytest.raises(StoreError, match="holds no store"):
        purge(str(tmp_path / "none"))
    with pytest.raises(StoreError, match="is new"):
        purge(str(tmp_path))
