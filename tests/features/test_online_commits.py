"""Nothing but the set of events shows in what the engine commits: not order, memory, or restarts."""

import threading
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from muma.backends.state_memory import MemoryStore
from muma.errors import StoreError
from muma.features.online.reader import FeatureReader
from online_support import (
    CATALOGUE,
    DAY,
    HOUR,
    MINUTE,
    T0,
    assert_same,
    clicks,
    committed,
    counts,
    engine_of,
    every_state,
    plan_of,
    random_events,
    read,
    records,
)  # fmt: skip


class FailingStore(MemoryStore):
    """Refuses commits while `full`."""

    full = False

    def commit(self, changes):
        if self.full:
            raise StoreError("the disk is full")
        return super().commit(changes)


class TestEqualEventsEqualBytes:
    """A store is a function of the set of events, as long as none is later than the bound."""

    @pytest.mark.parametrize("seed", range(6))
    def test_whatever_the_order_batches_commits_restarts_and_memory(self, seed):
        rng = np.random.default_rng(seed)
        plan, frame = every_state(), random_events(seed, 900, span=(3 * HOUR, 4 * DAY)[seed % 2])
        engine, store = committed(plan, [frame])
        _, sorted_store = committed(plan, [frame.sort("timestamp")])
        assert records(sorted_store) == records(store)
        other = MemoryStore()
        again = engine_of(plan, other)
        edges = np.unique(np.r_[0, rng.integers(0, 900, 25), 900])
        for start, end in pairwise(edges):
            again.apply(frame[int(start) : int(end)])
            if rng.random() < 0.6:
                again.commit()
                if rng.random() < 0.5:
                    again = engine_of(plan, other)
            if rng.random() < 0.3:
                again.expire()
        again.expire()
        again.commit()
        assert records(other) == records(store)
        assert again.counters.watermark == engine.counters.watermark
        at = np.full(40, engine.counters.watermark + 1)
        users, items = rng.integers(-1, 8, 40), rng.integers(-1, 13, 40)
        wanted = engine.table(users, items, at)
        assert_same(again.table(users, items, at), wanted)
        assert_same(FeatureReader(plan, other, CATALOGUE).table(users, items, at), wanted)

    def test_whether_a_key_was_forgotten_in_between(self):
        plan = counts(("1h/10m", "decay/1h"), keys=("user",))
        frames = [clicks([0, 1]), clicks([80 * HOUR], user=1), clicks([90 * HOUR])]
        _, store = committed(plan, frames)
        other = MemoryStore()
        engine = engine_of(plan, other)
        gone = 0
        for frame in frames:
            engine.apply(frame)
            gone += engine.expire()
            engine.commit()
        assert gone == 1
        assert records(other) == records(store)

    def test_a_forgotten_key_may_get_a_late_event(self):
        """The event is within the bound of the newest, and what the key held before is in its reach."""
        plan = counts(("1h/10m",), lateness="30m")
        # a ring reads as nothing after 70 minutes
        frames = [clicks([0]), clicks([90 * MINUTE], user=1), clicks([65 * MINUTE])]
        stores = []
        for often in (False, True):
            stores.append(MemoryStore())
            engine = engine_of(plan, stores[-1])
            for frame in frames:
                engine.apply(frame)
                if often:
                    engine.expire()
                    engine.commit()
            engine.commit()
        assert records(stores[0]) == records(stores[1])

    @pytest.mark.parametrize("between", [False, True])
    def test_the_folded_past_of_an_idle_sum(self, between):
        """A commit while other states go on must not drop what may still be added to."""
        plan = plan_of(
            {
                "sum": {"use": "count.Count", "keys": ("user",), "windows": ("decay/1h",), "of": ("click",)},
                "last": {"use": "recency.Recency", "keys": ("user",), "of": ("play",), "windows": ("all",)},
            }
        )  # fmt: skip
        frames = [clicks([0, 4 * HOUR]), clicks([65 * HOUR], kind="play"), clicks([66 * HOUR])]
        store = MemoryStore()
        engine = engine_of(plan, store)
        for frame in frames:
            engine.apply(frame)
            if between:
                engine.commit()
        engine.commit()
        _, alone = committed(plan, [pl.concat(frames)])
        assert records(store) == records(alone)


class TestMemory:
    PLAN = counts(("1d/10m",), keys=("user", "item", "user x category"))

    def events(self, n=4_000, users=1_500, seed=0):
        rng = np.random.default_rng(seed)
        times = np.sort(rng.integers(0, 2 * HOUR, n))
        return clicks(times, user=rng.integers(0, users, n), item=rng.integers(0, 12, n))

    @pytest.mark.parametrize("size", [100, 4_000])
    def test_little_of_it_changes_nothing(self, size):
        frame = self.events()
        pieces = [frame[start : start + size] for start in range(0, len(frame), size)]
        engine, store = committed(self.PLAN, pieces, memory_mib=1)
        large, alone = committed(self.PLAN, pieces)
        assert engine.resident_bytes < 2 << 20 < large.resident_bytes
        assert records(store) == records(alone)
        users, items = np.arange(60) * 9, np.arange(60) % 12
        at = np.full(60, T0 + 2 * HOUR)
        assert_same(engine.table(users, items, at), large.table(users, items, at))
        assert_same(engine.lookup(5, items, T0 + 2 * HOUR), large.lookup(5, items, T0 + 2 * HOUR))

    def test_a_state_that_is_resumed_lazily_goes_on(self):
        frame = self.events()
        _, store = committed(self.PLAN, [frame[:2000]])
        engine = engine_of(self.PLAN, store, memory_mib=1)
        assert engine.resident_bytes == 0
        engine.apply(frame[2000:])
        engine.commit()
        assert records(store) == records(committed(self.PLAN, [frame])[1])

    def test_without_a_store_it_must_hold_everything(self):
        engine = engine_of(self.PLAN, memory_mib=1)
        with pytest.raises(StoreError, match=r"memory_mib = 1.*give a store"):
            engine.apply(self.events())
        with pytest.raises(StoreError, match="build a new engine"):
            engine.apply(self.events(10))

    def test_more_than_the_machine_has_is_said(self):
        with pytest.raises(StoreError, match=r"does not give .* MiB for rows .* lower memory_mib"):
            engine_of(self.PLAN, memory_mib=1 << 28)

    def test_while_a_commit_is_under_way_nothing_is_let_go(self):
        frame, store = self.events(), MemoryStore()
        engine = engine_of(self.PLAN, store, memory_mib=1)
        engine.apply(frame[:600])
        under_way = engine.changes()
        assert engine.must_commit
        with store.snapshot() as view:
            before = view.version
        engine.apply(frame[600:])
        with store.snapshot() as view:
            assert view.version == before  # a commit of its own could overtake the one under way
        store.commit(under_way)
        engine.confirm()
        engine.commit()
        assert records(store) == records(committed(self.PLAN, [frame])[1])

    def test_a_damaged_record_is_refused_and_the_engine_stops(self):
        _, store = committed(self.PLAN, [self.events(2_000)])
        with store.snapshot() as view:
            key, changed = next(iter(view.records["user"].items()))
            view.records["user"][key] = changed[:-1] + bytes([changed[-1] ^ 1])
        engine = engine_of(self.PLAN, store, memory_mib=1)
        with pytest.raises(StoreError, match=r"'user'.* is damaged"):
            engine.apply(clicks([3 * HOUR], user=key))
        for refused in (engine.commit, engine.expire, lambda: engine.apply(clicks([0]))):
            with pytest.raises(StoreError, match="build a new engine"):
                refused()


class TestExpiry:
    def test_what_reads_as_nothing_leaves_memory_and_store(self):
        engine, store = committed(counts(("1h/10m",)), [clicks([0, 1], user=[1, 2])])
        engine.apply(clicks([81 * MINUTE], user=3))  # the reach is 70 minutes, the bound 10
        assert engine.expire() == 2
        engine.commit()
        assert list(records(store)) == [("user", 3)]

    def test_not_before(self):
        engine, _ = committed(counts(("1h/10m",)), [clicks([0], user=1)])
        engine.apply(clicks([80 * MINUTE], user=3))
        assert engine.expire() == 0

    def test_what_is_only_in_the_store_goes_too(self):
        rng = np.random.default_rng(1)
        plan = TestMemory.PLAN
        old = clicks(np.sort(rng.integers(0, HOUR, 2_000)), user=np.arange(2_000))
        engine, store = committed(plan, [old], memory_mib=1)
        assert engine.resident_bytes < 2 << 20
        engine.apply(clicks([3 * DAY], user=5))
        assert engine.expire() > 2_000
        engine.commit()
        assert set(records(store)) == {("user", 5), ("item", 0), ("user x category", 5 << 32)}
        assert engine.expire() == 0

    def test_a_key_that_comes_back_begins_anew_even_before_the_commit(self):
        plan, store = TestMemory.PLAN, MemoryStore()
        engine = engine_of(plan, store, memory_mib=1)
        engine.apply(clicks(np.arange(2_000), user=np.arange(2_000)))
        engine.commit()
        engine.apply(clicks([3 * DAY], user=9_999))
        engine.expire()
        back = clicks([3 * DAY + 1] * 3, user=[1, 2, 1999])
        engine.apply(back)
        engine.apply(back)
        engine.commit()
        assert len(records(store)) == 1 + 4 + 4
        assert read(engine, "user.click.count.1d", user=1999, at=3 * DAY + MINUTE) == 2
        again = engine_of(plan, store)
        assert read(again, "user.click.count.1d", user=1999, at=3 * DAY + MINUTE) == 2

    def test_state_for_ever_stays(self):
        plan = plan_of({"last": {"use": "recency.Recency", "keys": ("user",), "windows": ("all",)}})
        engine, store = committed(plan, [clicks([0]), clicks([900 * DAY], user=1)])
        assert len(records(store)) == 2
        assert engine.expire() == 0


class TestCommits:
    def test_another_thread_may_commit_while_the_engine_goes_on(self):
        plan, frame = every_state(), random_events(4, 2_000)
        store = MemoryStore()
        engine = engine_of(plan, store)
        worker = None
        for start in range(0, 2_000, 100):
            engine.apply(frame[start : start + 100], offset=start)
            if worker is not None:
                worker.join()
                engine.confirm()
            worker = threading.Thread(target=store.commit, args=(engine.changes(),))
            worker.start()
        worker.join()
        engine.confirm()
        engine.expire()
        engine.commit()
        assert records(store) == records(committed(plan, [frame])[1])

    def test_a_refused_commit_loses_nothing(self):
        plan, frame = every_state(), random_events(5, 600, span=2 * DAY)
        store = FailingStore()
        engine = engine_of(plan, store, dedup_horizon="9d")
        for place, start in enumerate(range(0, 600, 100)):
            engine.apply(frame[start : start + 100], offset=start)
            engine.apply(clicks([9 * DAY], received_at=T0))
            engine.expire()
            store.full = place % 3 != 2
            if store.full:
                with pytest.raises(StoreError, match="disk is full"):
                    engine.commit()
            else:
                engine.commit()
        engine.expire()
        engine.commit()
        _, alone = committed(plan, [frame])
        assert records(store) == records(alone)
        assert engine.quarantined().height == 6
        again = engine_of(plan, store, dedup_horizon="9d")
        assert again.offsets == {0: 600}
        again.apply(frame[-20:])
        assert again.counters.repeated_ids == 20

    def test_without_a_store_there_is_nothing_to_commit_to(self):
        with pytest.raises(StoreError, match="no store"):
            engine_of(counts(("1h/10m",))).commit()

    def test_the_state_of_other_features_is_refused(self):
        _, store = committed(counts(("1h/10m",)), [clicks([0])])
        other = counts(("1h/5m",))
        with pytest.raises(StoreError, match="another set of features; use a new state folder"):
            engine_of(other, store)
        with pytest.raises(StoreError, match="another set of features"):
            FeatureReader(other, store, CATALOGUE)


class TestReader:
    def test_sees_what_was_committed_and_says_how_new_it_is(self):
        plan, store = every_state(), MemoryStore()
        reader = FeatureReader(plan, store, CATALOGUE)
        assert (reader.freshness().version, reader.freshness().watermark) == (0, -1)
        engine = engine_of(plan, store)
        engine.apply(random_events(2, 300))
        assert (
            np.nansum(
                reader.lookup(1, np.arange(12), T0 + 4 * HOUR).column("global.click.count.1d")
            )
            == 0
        )
        engine.commit()
        assert (reader.freshness().version, reader.freshness().watermark) == (
            1, engine.counters.watermark,
        )  # fmt: skip
        for user in (1, -1, 77):
            items = np.array([*range(12), -1, 3, 99])
            at = engine.counters.watermark + MINUTE
            assert_same(reader.lookup(user, items, at), engine.lookup(user, items, at))
            wanted = reader.lookup(user, np.array([-1]), at).sequences
            found = reader.sequences(user, at)
            assert found.keys() == wanted.keys()
            for name, one in found.items():
                for array, other in zip(
                    vars(one).values(), vars(wanted[name]).values(), strict=True
                ):
                    np.testing.assert_array_equal(array, other)

    def test_threads_share_it(self):
        plan = every_state()
        engine, store = committed(plan, [random_events(3, 600)])
        reader, at = FeatureReader(plan, store, CATALOGUE), engine.counters.watermark + 1
        wanted = [engine.lookup(user, np.arange(12), at) for user in range(6)]
        wrong = []

        def ask(user):
            for _ in range(40):
                found = reader.lookup(user, np.arange(12), at).values_BF
                if not np.array_equal(found, wanted[user].values_BF, equal_nan=True):
                    wrong.append(user)

        threads = [threading.Thread(target=ask, args=(user,)) for user in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong

    def test_shows_a_record(self):
        _, store = committed(counts(("1h/10m",)), [clicks([0, 1, 10 * MINUTE], user=4)])
        reader = FeatureReader(counts(("1h/10m",)), store, CATALOGUE)
        shown = reader.record("user", 4)
        assert shown["newest_us"] == T0 + 10 * MINUTE
        assert sorted(
            (pane["from_us"] - T0, pane["add one of click"])
            for pane in shown[f"sliding {10 * MINUTE}us"]
        ) == [(0, 2), (10 * MINUTE, 1)]
        assert reader.record("user", 5) is None
        with pytest.raises(StoreError, match="no state is kept by 'item'"):
            reader.record("item", 5)


def test_a_commit_of_nothing_but_repeats():
    store = MemoryStore()
    engine = engine_of(counts(("1h/10m",)), store)
    once = clicks([0], event_id=[7])
    engine.apply(once, offset=0)
    engine.commit()
    engine.apply(once, offset=1)
    engine.apply(clicks([-30 * DAY], event_id=[8]), offset=2)  # too old to be checked
    engine.commit()
    assert (engine.counters.repeated_ids, engine.counters.unchecked) == (1, 1)
    assert engine_of(counts(("1h/10m",)), store).counters == engine.counters
