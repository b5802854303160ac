"""Stores on disk that are closed in the end, and a machine that can be said to have restarted."""

import pytest

from muma.backends import lmdb_files
from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from store_support import commit


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def opened(place):
    """Opens the store; closes what is left open."""
    stores = []

    def open_it(path=place, **options):
        stores.append(LmdbStore(LmdbConfig(path=str(path), **options)))
        return stores[-1]

    yield open_it
    for store in stores:
        store.close()


@pytest.fixture
def boot(monkeypatch):
    """Pretends that the machine has booted under this id."""
    return lambda name: monkeypatch.setattr(lmdb_files, "boot_id", lambda: name)


@pytest.fixture
def closed(place, opened):
    """A closed store at commit 3, with a snapshot of commit 2."""
    store = opened()
    commit(store, 1, 2)
    store.checkpoint()
    commit(store, 3)
    store.close()
    return place
