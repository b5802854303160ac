"""What every evidence store must do; subclass, give `make`, and run with pytest.

class TestMine(EvidenceSuite):
    @pytest.fixture
    def make(self, tmp_path):
        return lambda: Mine(MineConfig(path=str(tmp_path)))

`make()` opens the store: a new one, or the same again after it was closed.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from muma.serving.evidence.store import EvidenceStore
from muma.serving.recommending import Answer, Ask, Evidence, Hit, ServedItem

Make = Callable[[], EvidenceStore]


def small(
    request_id: str, *, time: int = 5, tenant: str = "default", user: str | None = "ann"
) -> Evidence:
    """Evidence of an answer of two slots out of four candidates."""
    items = tuple(
        ServedItem(f"i{k}", None, "news", 1.5 - k, (0.25, 0.5)[k], k == 1, {"click": 0.1}, ("als",))
        for k in range(2)
    )
    return Evidence(
        Ask(request_id, time, tenant=tenant, user=user, session=("i9",), context={"page": "home"}),
        Answer(request_id, items, (), {"model": "m1", "policy": "p1"}, time - 1, {"rank": 300}),
        np.arange(4),
        np.array([[1, 0.5], [1, np.nan], [1, -0.0], [1, np.inf]], np.float32),
        ("user_age", "item_age"),
        np.array([0.25, 0.5]),
        np.array([4, 3]),
        0.01,
        (Hit("r1", "removed", ("i7",), 1),),
        user_index=3,
        vector_D=np.array([0.5, -1.5], np.float32),
        history_L=np.array([9, 8]),
    )


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal bit for bit: types of arrays, NaN and the sign of zero as well."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return (
            isinstance(one, np.ndarray)
            and isinstance(other, np.ndarray)
            and (one.dtype, one.shape) == (other.dtype, other.shape)
            and one.tobytes() == other.tobytes()
        )
    if dataclasses.is_dataclass(one) or isinstance(one, msgspec.Struct):
        names = (
            one.__struct_fields__
            if isinstance(one, msgspec.Struct)
            else [f.name for f in dataclasses.fields(one)]
        )
        return type(one) is type(other) and all(
            same(getattr(one, n), getattr(other, n)) for n in names
        )
    if isinstance(one, tuple):
        return isinstance(other, tuple) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(same(value, other[key]) for key, value in one.items())
        )
    if isinstance(one, float):
        return isinstance(other, float) and np.float64(one).tobytes() == np.float64(other).tobytes()
    return one == other


class EvidenceSuite:
    """Contract tests of an `EvidenceStore`."""

    @pytest.fixture
    def make(self) -> Make:
        """Open the store."""
        raise NotImplementedError("an EvidenceSuite needs the fixture 'make'")

    @pytest.fixture
    def store(self, make: Make) -> Iterator[EvidenceStore]:
        """A new store."""
        store = make()
        yield store
        store.close()

    def test_a_new_store_is_empty(self, store: EvidenceStore) -> None:
        assert store.get("r") is None
        assert list(store.iterate()) == []
        assert store.stats().put == 0
        store.flush()

    def test_what_was_put_comes_back(self, store: EvidenceStore) -> None:
        assert store.put(small("r"))
        got = store.get("r")  # on its way, and found all the same
        assert got is not None
        assert same(got, small("r"))
        store.flush()
        got = store.get("r")
        assert got is not None
        assert same(got, small("r"))
        stats = store.stats()
        assert (stats.put, stats.durable, stats.lost, stats.waiting) == (1, 1, 0, 0)

    def test_it_survives_closing(self, make: Make) -> None:
        for turn in range(3):
            store = make()
            for k in range(turn):
                got = store.get(f"r{k}")
                assert got is not None
                assert got.ask.time == k
            store.put(small(f"r{turn}", time=turn))
            store.close()

    def test_the_newest_of_a_request_is_found(self, store: EvidenceStore) -> None:
        for time in (3, 9, 7):
            store.put(small("r", time=time))
            store.flush()
        got = store.get("r")
        assert got is not None
        assert got.ask.time == 9

    def test_tenants_do_not_see_each_other(self, store: EvidenceStore) -> None:
        store.put(small("r", tenant="a", time=1))
        store.put(small("r", tenant="b", time=2))
        store.flush()
        for tenant, time in (("a", 1), ("b", 2)):
            got = store.get("r", tenant=tenant)
            assert got is not None
            assert got.ask.time == time
            assert [e.ask.time for e in store.iterate(tenant=tenant)] == [time]
        assert store.get("r", tenant="c") is None

    def test_a_stretch_of_time(self, store: EvidenceStore) -> None:
        for time in range(10):
            store.put(small(f"r{time}", time=time))
        store.flush()

        def times(*bounds: int | None) -> list[int]:
            return [e.ask.time for e in store.iterate(*bounds)]

        assert times() == list(range(10))
        assert times(3) == list(range(3, 10))
        assert times(None, 3) == [0, 1, 2]
        assert times(3, 5) == [3, 4]
        assert times(5, 5) == []

    def test_what_cannot_be_kept_is_counted(self, store: EvidenceStore) -> None:
        store.put(replace(small("bad"), item_N=np.array([object()])))
        store.put(small("good"))
        store.flush()
        stats = store.stats()
        assert (stats.put, stats.durable, stats.lost) == (2, 1, 1)
        assert store.get("bad") is None
        assert store.get("good") is not None

    def test_closing_twice_is_safe_and_late_ones_are_lost(self, store: EvidenceStore) -> None:
        store.put(small("r"))
        store.close()
        store.close()
        assert not store.put(small("late"))
        stats = store.stats()
        assert (stats.durable, stats.lost, stats.waiting) == (1, 1, 0)

    def test_many_threads(self, store: EvidenceStore) -> None:
        def work(name: int) -> None:
            for k in range(40):
                store.put(small(f"{name}-{k}", time=k))

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        store.flush()
        assert store.stats().durable == 160
        assert all(store.get(f"{n}-{k}") is not None for n in range(4) for k in range(0, 40, 7))
        assert sorted(e.ask.request_id for e in store.iterate()) == sorted(
            f"{n}-{k}" for n in range(4) for k in range(40)
        )
