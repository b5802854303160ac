"""The compiled walk over LMDB's pages against LMDB itself."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.backends.lmdb_keys import KeyText
from muma.backends.lmdb_snapshot import MANY
from muma.backends.lmdb_walk import EMPTY, KeyParts, Pages
from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.errors import StoreError
from muma.features.store import Changes, Records, TableChange


def by_binding(view, table, keys):
    """A key at a time, which never walks."""
    return [view.get(table, np.array([key], dtype=np.uint64))[0] for key in keys]


def write(store, table, keys, values):
    keys = np.array(keys, dtype=np.uint64)
    store.commit(Changes([TableChange(table, keys, Records.of(values))], {0: 1}))


@settings(deadline=None, max_examples=40)
@given(st.data())
@pytest.mark.parametrize("table", ["user", "user x category"])
def test_what_the_binding_reads(table, tmp_path_factory, data):
    most = 2**64 - 1 if " x " in table else 2**40
    keys = data.draw(st.lists(st.integers(0, most), min_size=1, max_size=300, unique=True))
    size = st.one_of(st.integers(1, 300), st.integers(3_000, 9_000))
    values = [bytes([n % 251 + 1]) * data.draw(size) for n in range(len(keys))]
    store = LmdbStore(LmdbConfig(path=str(tmp_path_factory.mktemp("walk")), map_size_gib=0.1))
    write(store, table, keys, values)
    gone = [key + 1 for key in keys[:20] if key < most]
    asked = [*keys, *keys[:5], keys[0], *gone, *gone]
    asked += [keys[-1]] * MANY
    with store.snapshot() as view:
        found = view.get(table, np.array(asked, dtype=np.uint64))
        assert [found[n] for n in range(len(asked))] == by_binding(view, table, asked)
        assert len(view.get("item", np.arange(50, dtype=np.uint64))) == 50  # there is no such table
    store.close()


def test_a_snapshot_reads_its_own_commit_while_others_follow(tmp_path):
    store = LmdbStore(LmdbConfig(path=str(tmp_path), map_size_gib=0.2))
    keys = list(range(2_000))
    write(store, "user", keys, [b"old" * 30] * len(keys))
    asked = np.array(keys, dtype=np.uint64)
    with store.snapshot() as view:
        for n in range(20):
            write(store, "user", keys, [b"new %d" % n * 50] * len(keys))
        found = view.get("user", asked)
        assert {found[n] for n in range(len(keys))} == {b"old" * 30}
    with store.snapshot() as view:
        found = view.get("user", asked)
        assert {found[n] for n in range(len(keys))} == {b"new 19" * 50}
    store.close()


def test_readers_beside_a_writer_see_whole_commits(tmp_path):
    store = LmdbStore(LmdbConfig(path=str(tmp_path), map_size_gib=0.5))
    keys = list(range(500))
    asked = np.array(keys, dtype=np.uint64)
    write(store, "user", keys, [b"%09d" % 0 * 40] * len(keys))
    stop, wrong = threading.Event(), []

    def read():
        while not stop.is_set():
            with store.snapshot() as view:
                found = view.get("user", asked)
                if len({found[n] for n in range(0, 500, 7)}) != 1:
                    wrong.append(view.version)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for n in range(1, 60):
        write(store, "user", keys, [b"%09d" % n * (20 + n % 40)] * len(keys))
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong
    store.close()


def test_another_file_is_left_to_the_binding_and_a_wrong_page_is_refused(tmp_path):
    store = LmdbStore(LmdbConfig(path=str(tmp_path), map_size_gib=0.1))
    write(store, "user", range(100), [b"x" * 200] * 100)
    data = store.folder.data
    parts, keys = KeyParts.of(KeyText.of("user")), np.arange(20, dtype=np.uint64)
    assert Pages(data, inode=-1, size=4096).get(2, parts, keys) is None
    pages = Pages(data, inode=data.stat().st_ino, size=4096)
    assert pages.get(EMPTY, parts, keys).lengths.sum() == 0
    with pytest.raises(StoreError, match="damaged under the root page 0"):
        pages.get(0, parts, keys)  # a meta page
    with pytest.raises(StoreError, match="damaged"):
        pages.get(10**6, parts, keys)
    store.close()


def test_offsets_that_lead_out_of_a_page_are_refused(tmp_path):
    """Whole pages by their heads, with every node far away: nothing is read beyond the file."""
    size, (branch, leaf) = 4096, (1, 2)
    data = np.zeros(4 * size, dtype=np.uint8)
    for number, flags in ((2, branch), (3, leaf)):
        head = np.array([flags, 16 + 2, 0, 65_535], dtype="<u2")  # one node
        data[number * size + 10 : number * size + 18] = head.view(np.uint8)
    path = tmp_path / "data.mdb"
    path.write_bytes(data.tobytes())
    pages = Pages(path, inode=path.stat().st_ino, size=size)
    parts, keys = KeyParts.of(KeyText.of("user")), np.arange(9, dtype=np.uint64)
    for root in (2, 3):
        with pytest.raises(StoreError, match="damaged"):
            pages.get(root, parts, keys)
