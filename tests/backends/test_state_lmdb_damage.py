"""A damaged LMDB store says so and what to do, and its newest snapshot can be brought back."""

import lmdb
import pytest

from muma.backends.lmdb_files import Folder
from muma.backends.lmdb_pages import pages_lacking
from muma.backends.state_lmdb import LmdbStore
from muma.errors import StoreError
from muma.testing.store_suite import put
from store_support import commit, crash, shown, start


@pytest.mark.parametrize("left", [0, 100, 4096, 8192, -1, -4096, -20_000])
def test_truncated(left, closed, opened):
    data = Folder(closed).data
    whole = data.read_bytes()
    data.write_bytes(whole[:left])
    for readonly in (False, True):
        with pytest.raises(StoreError, match=r"truncated.*LmdbStore.restore"):
            opened(readonly=readonly)
    assert data.read_bytes() == whole[:left]
    assert LmdbStore.restore(str(closed)) == 2
    assert (closed / "live.damaged-1" / "data.mdb").read_bytes() == whole[:left]
    store = opened()
    assert shown(store) == 2
    commit(store, 3)


@pytest.mark.parametrize("page", [0, 1])
def test_damaged_meta_page(page, closed, opened):
    data = Folder(closed).data
    raw = bytearray(data.read_bytes())
    raw[page * 4096 : page * 4096 + 4096] = bytes(4096)
    data.write_bytes(raw)
    with pytest.raises(StoreError, match=r"damaged meta page.*LmdbStore.restore"):
        opened()
    assert LmdbStore.restore(str(closed)) == 2


@pytest.mark.parametrize("how", ["zeroed", "scribbled"])
def test_no_damaged_page_is_read_as_whole(how, place, opened, tmp_path):
    """In a process of its own, because LMDB itself might crash."""
    store = opened()
    store.commit(put("user", {key: b"%d" % key * 60 for key in range(400)}, offsets={0: 1}))
    store.checkpoint()
    store.close()
    script = """
import random
from pathlib import Path
from muma.testing.store_suite import content
place, how = Path(sys.argv[1]), sys.argv[2]
data = place / "live" / "data.mdb"
whole = data.read_bytes()
print("ready", flush=True)
refused = 0
for page in range(2, len(whole) // 4096):
    raw = bytearray(whole)
    other = random.Random(page).randbytes(4096) if how == "scribbled" else bytes(4096)
    raw[page * 4096 : page * 4096 + 4096] = other
    data.write_bytes(raw)
    store = None
    try:
        store = LmdbStore(LmdbConfig(path=str(place), readonly=page % 2 == 0))
        with store.snapshot() as view:
            assert content(view, "user") == {key: b"%d" % key * 60 for key in range(400)}
            assert view.offsets() == {0: 1}
    except StoreError as error:
        assert "LmdbStore.restore" in str(error), error
        refused += 1
    finally:
        if store is not None:
            store.close()
print(refused, page)
assert LmdbStore.restore(str(place)) == 1
store = LmdbStore(LmdbConfig(path=str(place)))
with store.snapshot() as view:
    assert view.count("user") == 400 == len(content(view, "user"))
"""
    process = start(script, place, how)
    text = process.stdout.read()
    assert process.wait(60) == 0
    refused, pages = map(int, text.split())
    assert refused > pages * 0.6  # the others are free or were never written again


def test_a_short_file_that_is_whole_is_opened(closed, opened):
    """LMDB may take pages at the end in a commit and give them back unwritten."""
    data = Folder(closed).data
    with lmdb.open(str(data.parent), max_dbs=9, map_size=2**30) as raw:
        table = raw.open_db(b"table item")
        with raw.begin(write=True, db=table) as txn:
            for key in range(10**6, 10**6 + 200):
                txn.put(b"ITEM:%d:FEATURES" % key, bytes(5000))
            for key in range(10**6, 10**6 + 200):
                txn.delete(b"ITEM:%d:FEATURES" % key)
    assert pages_lacking(data) > 0
    store = opened()
    assert pages_lacking(data) <= 0
    assert shown(store) == 3
    commit(store, 4)


@pytest.mark.parametrize("damaged", [1, 2])
def test_damaged_snapshots_are_passed_over(damaged, closed, opened, boot, tmp_path):
    store = opened()
    commit(store, 4)
    assert store.checkpoint() == 4
    other = crash(closed, tmp_path / "other")
    for version in [4, 2][:damaged]:
        data = other / "snapshots" / f"{version:020d}" / "data.mdb"
        data.write_bytes(data.read_bytes()[:-4096] + bytes(4096))
    boot("another")
    if damaged == 2:
        with pytest.raises(StoreError, match="all 2 snapshots are damaged"):
            opened(other)
        return
    again = opened(other)
    assert shown(again) == 2
    commit(again, 3, 4)
    assert again.checkpoint() == 4
    assert Folder(other).versions() == [2, 4]
