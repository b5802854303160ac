"""What the LMDB store promises about kills, restarts, full disks and damaged files."""

import random
import signal
import subprocess
import threading
import time

import lmdb
import pytest

from muma.artifact import digest
from muma.backends import lmdb_files, state_lmdb
from muma.backends.lmdb_files import Folder
from muma.backends.lmdb_snapshot import Environment, LmdbSnapshot
from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.errors import StoreError
from muma.features.store import Changes, Records, TableChange
from muma.testing.store_suite import got, keys, put
from store_support import commit, crash, number_of, shown, start

WRITER = """
import threading
store = LmdbStore(LmdbConfig(path=sys.argv[1]))
def copy():
    while True:
        store.checkpoint()
threading.Thread(target=copy, daemon=True).start()
with store.snapshot() as view:
    n = number_of(view)
print("ready", flush=True)
while True:
    n += 1
    assert store.commit(numbered(n)) == n
    print(n, flush=True)
"""
READER = """
store = LmdbStore(LmdbConfig(path=sys.argv[1], readonly=True))
print("ready", flush=True)
seen = set()
while max(seen, default=0) < int(sys.argv[2]):
    with store.snapshot() as view:
        seen.add(number_of(view))
        seen.add(number_of(view))
print(len(seen))
"""
KILLS = [
    pytest.param(k, marks=() if k < 5 else pytest.mark.slow, id=f"kill {k}") for k in range(35)
]


@pytest.mark.parametrize("number", KILLS)
def test_killed_at_a_random_moment(number, place, opened):
    process = start(WRITER, place)
    time.sleep(random.Random(number).uniform(0, 0.4))
    process.send_signal(signal.SIGKILL)
    said = process.stdout.read().split("\n")[:-1]  # without a line that was cut
    process.wait(10)
    store = opened()
    n = shown(store)
    assert n >= int(said[-1] if said else 0)
    commit(store, n + 1)
    folder = Folder(place)
    assert all(entry.name.isdecimal() for entry in folder.snapshots.iterdir())
    if (newest := folder.newest()) is not None:
        data = folder.snapshots / f"{newest.version:020d}" / "data.mdb"
        assert digest(data) == newest.sha256
    assert shown(store) == n + 1


def test_readers_see_whole_commits(place, opened):
    store = opened()
    readers = [start(READER, place, 300) for _ in range(2)]
    for n in range(1, 301):
        commit(store, n)
        if n % 50 == 0:
            store.checkpoint()
    for reader in readers:
        assert reader.wait(30) == 0
        assert int(reader.stdout.read()) > 1


def test_a_second_writer_is_turned_away(place, opened):
    store = opened()
    with pytest.raises(StoreError, match="another process is writing"):
        opened()
    with pytest.raises(StoreError, match="another process is writing"):
        LmdbStore.restore(str(place))
    script = "print('ready', flush=True)\nLmdbStore(LmdbConfig(path=sys.argv[1]))"
    assert start(script, place).wait(20) == 1
    with pytest.raises(StoreError, match="share that object"):
        opened(readonly=True)
    commit(store, 1)
    store.close()
    assert shown(opened()) == 1


def test_reading_what_is_not_there(place, opened):
    with pytest.raises(StoreError, match="holds no store"):
        opened(readonly=True)
    assert not place.exists()


def test_full_disk(place):
    script = """
import resource
from muma.features.store import Changes, Records, TableChange
from store_support import USERS
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
print("ready", flush=True)
store = LmdbStore(LmdbConfig(path=sys.argv[1]))
store.commit(numbered(1))
store.checkpoint()
store.commit(numbered(2))
limit(store.folder.data.stat().st_size + 50_000)
large = Records.of([bytes([1]) * 30_000] * 40)
for _ in range(3):
    try:
        store.commit(Changes([TableChange("user", USERS, large)], {0: 99}))
    except StoreError as error:
        print(error)
    with store.snapshot() as view:
        assert number_of(view) == 2
limit(10_000)
try:
    store.checkpoint()
except StoreError as error:
    print(error)
with store.snapshot() as view:
    assert number_of(view) == 2
limit(resource.RLIM_INFINITY)
store.commit(numbered(3))
print(store.checkpoint())
store.close()
"""
    process = start(script, place)
    text = process.stdout.read()
    assert process.wait(20) == 0
    lines = text.splitlines()
    assert len(lines) == 5
    assert all("what was committed is unchanged. The disk is full" in line for line in lines[:3])
    assert "File too large; what was committed is unchanged. Make room" in lines[3]
    assert lines[4] == "3"
    store = LmdbStore(LmdbConfig(path=str(place)))
    assert shown(store) == 3
    assert Folder(place).versions() == [1, 3]
    store.close()


def test_full_map(opened):
    store = opened(map_size_gib=0.001)
    commit(store, 1, 2)
    with pytest.raises(StoreError, match="map_size_gib"):
        store.commit(put("user", dict.fromkeys(range(40), b"x" * 30000)))
    assert shown(store) == 2
    commit(store, 3)
    store.close()
    assert opened().commit(put("user", dict.fromkeys(range(40), b"x" * 30000))) == 4


def test_restart_without_a_clean_close(place, opened, boot, tmp_path):
    store = opened()
    commit(store, 1, 2)
    assert store.checkpoint() == 2
    commit(store, 3)
    assert store.durable_offsets() == {0: 2}
    same, other = crash(place, tmp_path / "same"), crash(place, tmp_path / "other")
    unknown = crash(place, tmp_path / "unknown")
    again = opened(same)
    assert shown(again) == 3
    again.close()
    boot("after a power cut")
    with pytest.raises(StoreError, match="open it for writing once"):
        opened(other, readonly=True)
    again = opened(other)
    assert shown(again) == 2
    commit(again, 3, 4)
    assert {entry.name for entry in other.iterdir()} == {
        "live",
        "lock",
        "session.json",
        "snapshots",
    }
    boot(None)
    assert shown(opened(unknown)) == 2


def test_restart_without_any_snapshot(place, opened, boot, tmp_path):
    store = opened()
    commit(store, 1)
    assert store.durable_offsets() == {}
    other = crash(place, tmp_path / "other")
    boot("another")
    again = opened(other)
    assert shown(again) == 0
    commit(again, 1)


def test_restart_after_a_clean_close(closed, opened, boot):
    boot("another")
    store = opened(readonly=True)
    assert shown(store) == 3
    store.close()
    store = opened()
    assert shown(store) == 3
    commit(store, 4)


def test_opening_ends_the_clean_close(closed, opened, boot, tmp_path):
    opened()
    other = crash(closed, tmp_path / "other")
    boot("another")
    assert shown(opened(other)) == 2


def test_synced_commits_need_no_snapshot(place, opened, boot, tmp_path):
    store = opened(sync="commit")
    commit(store, 1, 2)
    assert store.durable_offsets() == {0: 2}
    other = crash(place, tmp_path / "other")
    boot("another")
    reader = opened(other, readonly=True)
    assert (shown(reader), reader.durable_offsets()) == (2, {0: 2})
    reader.close()
    assert shown(opened(other)) == 2


def test_checkpoints_while_commits_go_on(place, opened):
    store, stop = opened(snapshot_keep=3), threading.Event()

    def write():
        n = 0
        while not stop.is_set():
            commit(store, n := n + 1)

    thread = threading.Thread(target=write)
    thread.start()
    made = []
    while len(set(made)) < 5:
        made.append(store.checkpoint())
        time.sleep(0.02)
    stop.set()
    thread.join()
    folder = Folder(place)
    assert folder.versions() == sorted(set(made))[-3:]
    for version in folder.versions():
        copy = Environment(folder.snapshots / f"{version:020d}", readonly=True, lock=False)
        txn, handles = copy.begin()
        assert number_of(LmdbSnapshot(copy, txn, handles)) == version
        txn.abort()
        copy.lmdb.close()
    assert folder.newest().offsets == {0: folder.versions()[-1]}
    assert store.checkpoint() == shown(store) == store.checkpoint()


def test_an_interrupted_checkpoint_leaves_no_snapshot(place, opened, monkeypatch):
    store = opened()
    commit(store, 1)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lmdb_files, "digest", full)
    with pytest.raises(StoreError, match="No space left"):
        store.checkpoint()
    assert list(Folder(place).snapshots.iterdir()) == []
    monkeypatch.undo()
    (Folder(place).snapshots / "writing-1-x").mkdir()
    store.close()
    store = opened()
    assert list(Folder(place).snapshots.iterdir()) == []
    assert store.checkpoint() == 1


def test_a_reader_follows_a_restore(closed, opened):
    reader = opened(readonly=True)
    with reader.snapshot() as old:
        assert LmdbStore.restore(str(closed)) == 2
        with reader.snapshot() as new:
            assert number_of(new) == 2
        assert number_of(old) == 3
    assert shown(reader) == 2


def test_a_restore_cut_between_its_renames_is_finished(closed, opened):
    Folder(closed).live.rename(closed / "live.damaged-1")
    assert shown(opened()) == 2


def test_killed_readers_do_not_pin_pages(place, opened, monkeypatch):
    monkeypatch.setattr(state_lmdb, "READER_CHECK", 4)
    store = opened()
    commit(store, 1)
    script = """
store = LmdbStore(LmdbConfig(path=sys.argv[1], readonly=True))
with store.snapshot() as view:
    number_of(view)
    print("ready", flush=True)
    sys.stdin.read()
"""
    with start(script, place, stdin=subprocess.PIPE) as reader:
        reader.kill()
    commit(store, *range(2, 12))
    size = Folder(place).data.stat().st_size
    commit(store, *range(12, 60))
    assert Folder(place).data.stat().st_size < size * 2


def test_keys_are_readable(place, opened):
    store = opened()
    pair = keys(7 << 32 | 3)
    tables = [
        TableChange("user", keys(7), Records.of([b"u"])),
        TableChange("user x category", pair, Records.of([b"c"])),
        TableChange("global", keys(0), Records.of([b"g"])),
    ]
    store.commit(Changes(tables, {0: 5}))
    store.close()
    with lmdb.open(str(Folder(place).live), max_dbs=9, readonly=True) as raw, raw.begin() as txn:
        held = {}
        for name in raw.dbs(txn):
            held[name.decode()] = list(txn.cursor(raw.open_db(name, txn=txn)))
    assert held == {
        "blobs": [],
        "meta": [(b"OFFSETS", b'{"0": 5}'), (b"VERSION", b"1")],
        "table global": [(b"GLOBAL:0:FEATURES", b"g")],
        "table user": [(b"USER:7:FEATURES", b"u")],
        "table user x category": [(b"USER:7:CATEGORY:3:FEATURES", b"c")],
    }


def test_use_after_close(place, opened):
    store = opened()
    commit(store, 1)
    with store.snapshot() as view:
        pass
    with pytest.raises(StoreError, match="closed"):
        view.get("user", keys(1))
    with store.snapshot() as view:
        pieces = view.scan("user", batch=1)
        next(pieces)
        store.close()
        for read in (lambda: view.version, lambda: got(view, "user", 1), lambda: next(pieces)):
            with pytest.raises(StoreError, match="closed"):
                read()
    for use in (store.checkpoint, lambda: shown(store), lambda: commit(store, 2)):
        with pytest.raises(StoreError, match="is closed"):
            use()
    reader = opened(readonly=True)
    with pytest.raises(StoreError, match="readonly"):
        commit(reader, 2)
    with pytest.raises(StoreError, match="readonly"):
        reader.checkpoint()


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        LmdbStore(LmdbConfig(path=str(tmp_path / "file" / "state")))
    with pytest.raises(StoreError, match="holds no store"):
        LmdbStore.restore(str(tmp_path / "nothing"))
