"""Every state store keeps the contract, and none is left out."""

import inspect

import pytest

from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.backends.state_memory import MemoryStore
from muma.testing.discovery import classes_in
from muma.testing.store_suite import StoreSuite


class TestMemoryStore(StoreSuite):
    component = MemoryStore
    persistent = False

    @pytest.fixture
    def make(self):
        store = MemoryStore()
        return lambda: store


class TestLmdbStore(StoreSuite):
    component = LmdbStore

    @pytest.fixture(params=["snapshot", "commit", "shared"])
    def make(self, request, tmp_path):
        shared = request.param == "shared"
        sync = "commit" if shared else request.param
        return lambda: LmdbStore(LmdbConfig(path=str(tmp_path / "state"), sync=sync, shared=shared))


def test_every_store_has_a_suite():
    tried = {
        s.component for s in globals().values() if inspect.isclass(s) and issubclass(s, StoreSuite)
    }
    stores = {c for c in classes_in("muma.backends") if {"commit", "snapshot"} <= set(dir(c))}
    assert {MemoryStore, LmdbStore} <= stores <= tried
