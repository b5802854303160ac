"""The online engine: what each state takes and refuses, and what becomes of every event."""

import io
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.backends.state_memory import MemoryStore
from muma.errors import StreamError
from muma.events.stream import StreamBatch
from muma.features.followers import Followers
from muma.features.online.engine import Engine
from muma.features.window import WEIGHTS
from online_support import (
    CATALOGUE,
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    T0,
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


class TestSliding:
    NAME = "user.click.count.1h"

    def engine(self, times, windows=("1h/10m",)):
        engine = engine_of(counts(windows))
        engine.apply(clicks(times))
        return engine

    def test_covers_whole_panes_at_the_tail_and_the_live_one_at_the_head(self):
        engine = self.engine([0, 10 * MINUTE - 1, 10 * MINUTE, 50 * MINUTE])
        assert read(engine, self.NAME, at=59 * MINUTE) == 4
        assert read(engine, self.NAME, at=60 * MINUTE - 1) == 4
        assert read(engine, self.NAME, at=60 * MINUTE) == 2  # the first pane has left whole
        assert read(engine, self.NAME, at=70 * MINUTE) == 1
        assert read(engine, self.NAME, at=110 * MINUTE) == 0

    def test_panes_after_the_moment_are_left_out(self):
        engine = self.engine([0, 30 * SECOND, 10 * MINUTE])
        assert read(engine, self.NAME, at=9 * MINUTE) == 2

    def test_a_longer_window_shares_the_ring(self):
        engine = self.engine([0, 90 * MINUTE], ("1h/10m", "2h/10m"))
        assert read(engine, self.NAME, at=91 * MINUTE) == 1
        assert read(engine, "user.click.count.2h", at=91 * MINUTE) == 2

    def test_a_late_event_updates_its_own_pane(self):
        engine = self.engine([50 * MINUTE])
        engine.apply(clicks([5 * MINUTE]))
        assert read(engine, self.NAME, at=51 * MINUTE) == 2
        assert engine.counters.late_dropped == 0

    # 70 minutes are a turn of the ring of six panes and one for events ahead
    @pytest.mark.parametrize("behind", [70 * MINUTE, 75 * MINUTE, 130 * MINUTE, 20 * DAY])
    def test_an_event_older_than_the_ring_is_counted_and_changes_nothing(self, behind):
        engine = self.engine([75 * MINUTE])
        engine.apply(clicks([75 * MINUTE - behind]))
        assert read(engine, self.NAME, at=76 * MINUTE) == 1
        assert engine.counters.late_dropped == 1
        assert engine.counters.applied == 2

    def test_an_old_pane_is_overwritten(self):
        engine = self.engine([0, 0, 70 * MINUTE])
        assert read(engine, self.NAME, at=71 * MINUTE) == 1
        assert engine.counters.late_dropped == 0


def test_a_decayed_sum_is_exact():
    times = [0, 30 * MINUTE, 59 * MINUTE, 2 * HOUR, 5 * HOUR + 7 * MINUTE, 9 * HOUR]
    engine = engine_of(counts(("decay/1h",)))
    weight = [int(WEIGHTS[time % HOUR * 64 // HOUR]) for time in times]
    for known, time in enumerate(times):
        engine.apply(clicks([time]))
        at = time + 20 * MINUTE
        now = at // HOUR
        # floor of the exact sum: everything over the smallest power of two
        total = sum(w << (t // HOUR) for w, t in zip(weight[: known + 1], times, strict=False))
        found = read(engine, "user.click.count.decay1h", at=at)
        wanted = (total >> now) / WEIGHTS[at % HOUR * 64 // HOUR]
        assert found == wanted


def test_a_decayed_sum_refuses_what_is_older_than_its_live_epochs():
    engine = engine_of(counts(("decay/1h",)))
    engine.apply(clicks([4 * HOUR]))
    engine.apply(clicks([HOUR]))
    assert engine.counters.late_dropped == 0
    before = read(engine, "user.click.count.decay1h", at=5 * HOUR)
    engine.apply(clicks([HOUR - 1]))
    assert engine.counters.late_dropped == 1
    assert read(engine, "user.click.count.decay1h", at=5 * HOUR) == before


def test_a_decayed_sum_is_nothing_after_63_half_lives():
    engine = engine_of(counts(("decay/1h",)))
    engine.apply(clicks([0] * 50))
    assert read(engine, "user.click.count.decay1h", at=17 * HOUR) > 0
    assert read(engine, "user.click.count.decay1h", at=63 * HOUR) == 0
    engine.apply(clicks([100 * HOUR]))
    assert read(engine, "user.click.count.decay1h", at=100 * HOUR + 1) == 1


def test_the_last_event_is_forgotten_beyond_its_horizon():
    plan = plan_of(
        {"last": {"use": "recency.Recency", "keys": ("user",), "of": ("click",), "windows": ("all/2h", "all")}}
    )  # fmt: skip
    engine = engine_of(plan)
    engine.apply(clicks([10 * SECOND, 5 * SECOND]))
    assert read(engine, "user.click.recency_s.all2h", at=2 * HOUR + 10 * SECOND) == 7200
    assert np.isnan(read(engine, "user.click.recency_s.all2h", at=2 * HOUR + 10 * SECOND + 1))
    assert read(engine, "user.click.recency_s.all", at=9 * HOUR + 10 * SECOND) == 9 * 3600


def test_minimum_maximum_sum_and_buckets():
    keys = ("user",)
    plan = plan_of(
        {
            "ends": {"use": "extremes.MinMax", "keys": keys, "of": ("play",), "windows": ("1h/10m",)},
            "sum": {"use": "total.Sum", "keys": keys, "of": ("play",), "windows": ("1h/10m",)},
            "top": {"use": "topk.TopK", "keys": keys, "of": ("play",), "k": 2, "buckets": 2, "windows": ("1h/10m",)},
            "ids": {"use": "distinct.Distinct", "keys": keys, "of": ("play",), "windows": ("1h/10m",)},
        }
    )  # fmt: skip
    engine = engine_of(plan)
    # categories of items 0, 1, 2, 5 are 0, 1, 2, 2: with two buckets 1 holds all but 0
    engine.apply(clicks([0, 1, 2, 3], item=[0, 1, 2, 5], kind="play", dwell_ms=[7, 0, 9, None]))
    stem, at = "user.play.", MINUTE
    assert read(engine, stem + "dwell_ms.min.1h", at=at) == 0
    assert read(engine, stem + "dwell_ms.max.1h", at=at) == 9
    assert read(engine, stem + "dwell_ms.sum.1h", at=at) == 16
    assert read(engine, stem + "top1_category.1h", at=at) == 1
    assert read(engine, stem + "top1_share.1h", at=at) == 0.75
    assert read(engine, stem + "top2_share.1h", at=at) == 0.25
    assert round(read(engine, stem + "distinct_item.1h", at=at)) == 4


class TestSessions:
    def engine(self, *batches, horizon="1h", lateness="10m"):
        plan = plan_of(
            {"visit": {"use": "session.Session", "gap": "5m", "horizon": horizon}},
            lateness=lateness,
        )
        engine = engine_of(plan)
        for times in batches:
            engine.apply(clicks([time * MINUTE for time in times]))
        return engine

    def events(self, engine, at):
        names = ("user.session.events.open5m", "user.session.events.closed5m")
        return tuple(read(engine, name, at=at * MINUTE) for name in names)

    def test_open_and_closed(self):
        engine = self.engine([0, 5, 20, 21])
        assert self.events(engine, 22) == (2, 2)
        assert self.events(engine, 26) == (2, 2)  # 5 minutes after its last event: still open
        assert self.events(engine, 27) == (0, 2)
        assert self.events(engine, 82) == (0, 0)  # beyond the horizon

    def test_a_late_event_joins_two_sessions(self):
        engine = self.engine([0, 8], [4])
        assert self.events(engine, 9) == (3, 0)
        assert read(engine, "user.session.length_s.open5m", at=9 * MINUTE) == 8 * 60

    def test_a_late_event_makes_a_session_between_two(self):
        engine = self.engine([0, 20], [10])
        assert self.events(engine, 21) == (1, 1)
        assert read(engine, "user.session.since_end_s.closed5m", at=21 * MINUTE) == 11 * 60

    def test_a_session_after_the_moment_is_left_out(self):
        engine = self.engine([0, 10])
        assert self.events(engine, 10) == (0, 1)

    def test_older_than_all_it_keeps_is_late(self):
        engine = self.engine([10, 20, 30, 40, 50], [0])
        assert engine.counters.late_dropped == 1
        assert self.events(engine, 51) == (1, 1)

    def test_a_session_that_is_joined_late_brings_no_other_back_in_question(self):
        """Whether the ring overflowed before a late event joined two sessions must not show."""
        found = []
        for batches in ([[0, 10, 20, 30, 40, 48], [44]], [[0, 10, 20, 30, 40, 44, 48]]):
            engine = self.engine(*batches)
            found.append([change.records[0] for change in engine.changes().tables])
        assert found[0] == found[1]


def test_sequences_keep_the_newest_in_order_of_time():
    plan = plan_of({}, sequences={"recent": {"of": "click", "length": 3, "horizon": "1h"}})
    engine = engine_of(plan)
    engine.apply(clicks([30, 10, 40, 20], item=[3, 1, 4, 2], dwell_ms=[1, 2, None, 4]))
    found = engine.lookup(0, np.array([-1, 2]), T0 + 40).sequences["recent"]
    assert found.item_BL.tolist() == [[-1, 2, 3]] * 2  # before the moment, oldest first
    assert found.mask_BL.tolist() == [[False, True, True]] * 2
    assert found.dwell_BL.tolist() == [[-1, 4, 1]] * 2
    later = engine.lookup(0, np.array([0]), T0 + HOUR + 25).sequences["recent"]
    assert later.item_BL.tolist() == [[-1, 3, 4]]
    assert engine.counters.late_dropped == 0
    assert engine.lookup(5, np.array([0]), T0 + 50).sequences["recent"].mask_BL.sum() == 0


def test_an_event_that_writes_nothing_makes_no_key():
    store = MemoryStore()
    engine = engine_of(counts(("1h/10m",), keys=("user", "item")), store)
    engine.apply(clicks([1, 2], user=[1, 2], item=[None, 3], kind=["click", "play"]))
    engine.commit()
    assert list(records(store)) == [("user", 1)]


def test_events_are_written_to_followers():
    plan = counts(("1h/10m",), keys=("friends",))
    followers = Followers(np.array([0, 3, 3, 3, 3]), np.array([1, 2, 3]), T0 + np.array([0, 0, 50]))
    engine = Engine(plan, catalogue=CATALOGUE, followers=followers)
    engine.apply(clicks([10, 60]))
    assert [
        read(engine, "friends.click.count.1h", user=u, at=MINUTE) for u in range(4)
    ] == [0, 2, 2, 1]  # fmt: skip


class TestRepeats:
    def engine(self, **config):
        return engine_of(counts(("1h/10m",)), **config)

    def test_by_id_in_a_batch_and_across(self):
        engine = self.engine()
        engine.apply(clicks([0, 1, 0], event_id=[7, 0, 7]))
        engine.apply(clicks([0, 1, 2], event_id=[7, 0, None]))
        assert engine.counters.repeated_ids == 3
        assert engine.counters.applied == 3
        assert read(engine, "user.click.count.1h", at=MINUTE) == 3

    def test_by_id_with_another_time(self):
        engine = self.engine()
        engine.apply(clicks([0, 3 * MINUTE], event_id=[7, 7]))
        assert engine.counters.repeated_ids == 1

    def test_beyond_the_horizon_it_is_taken_and_counted(self):
        engine = self.engine(dedup_horizon="1m")
        engine.apply(clicks([0, 10 * MINUTE], event_id=[7, 8]))
        engine.apply(clicks([0], event_id=[7]))
        assert (engine.counters.repeated_ids, engine.counters.unchecked) == (0, 1)
        assert read(engine, "user.click.count.1h", at=11 * MINUTE) == 3

    def test_by_id_over_restarts(self):
        store = MemoryStore()
        for time, expected in ((0, 0), (MINUTE, 1), (2 * MINUTE, 2)):
            engine = engine_of(counts(("1h/10m",)), store)
            engine.apply(clicks([time, time], event_id=[7, 100 + time]))
            engine.commit()
            assert engine.counters.repeated_ids == expected

    def test_old_ids_leave_the_store(self):
        store = MemoryStore()
        engine = engine_of(counts(("1h/10m",)), store, dedup_horizon="8m")
        for minute in range(60):
            engine.apply(clicks([minute * MINUTE], event_id=[minute]))
            engine.commit()
        with store.snapshot() as view:
            assert 8 <= len(list(view.blobs("dedup/"))) <= 10

    @settings(deadline=None, max_examples=30, derandomize=True)
    @given(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30 * 60)), max_size=60),
        st.lists(st.integers(0, 60), max_size=5),
    )
    def test_the_cutting_of_batches_does_not_matter(self, events, cuts):
        frame = clicks([t * SECOND for _, t in events], event_id=[i for i, _ in events])
        whole, pieces = self.engine(), self.engine()
        whole.apply(frame)
        edges = [0, *sorted(cuts), len(events)]
        for start, end in pairwise(edges):
            pieces.apply(frame[start:end])
        assert pieces.counters == whole.counters


class TestOffsets:
    def engine(self):
        return engine_of(counts(("1h/10m",)))

    def test_what_was_taken_is_left_out(self):
        engine = self.engine()
        engine.apply(clicks([0, 1, 2]), offset=0)
        engine.apply(clicks([1, 2, 3]), offset=1)
        engine.apply(clicks([0]), offset=0)
        assert engine.offsets == {0: 4}
        assert engine.counters.repeated_offsets == 3
        assert engine.counters.events == 4
        assert read(engine, "user.click.count.1h", at=MINUTE) == 4

    def test_a_gap_is_refused_and_nothing_taken(self):
        engine = self.engine()
        engine.apply(clicks([0]), partition=3, offset=0)
        batches = [StreamBatch(2, 0, clicks([1])), StreamBatch(3, 5, clicks([2]))]
        with pytest.raises(StreamError, match=r"partition 3: events 1 to 4 are missing"):
            engine.apply_batches(batches)
        assert engine.offsets == {3: 1}
        assert engine.counters.events == 1

    def test_partitions_are_taken_in_order_of_time_and_each_in_its_own(self):
        engine = engine_of(plan_of({}, sequences={"recent": {"key": "global", "length": 9}}))
        late = clicks([30, 10, 50], item=[0, 1, 2])
        engine.apply_batches(
            [
                StreamBatch(0, 0, late),
                StreamBatch(1, 0, clicks([20, 40], item=[3, 4])),
                StreamBatch(0, 3, clicks([35], item=[5])),
            ]
        )
        assert engine.offsets == {0: 4, 1: 2}
        assert engine.counters.applied == 6

    def test_a_commit_between_pieces_stands_at_an_offset(self):
        """With little memory the engine commits inside a batch; a kill then must lose nothing."""
        plan, store = counts(("1d/10m",), keys=("user", "item")), MemoryStore()
        n = 6_000
        rng = np.random.default_rng(3)
        batches = [
            StreamBatch(p, 0, clicks(rng.integers(0, HOUR, n), user=np.arange(n) % 1500, item=p))
            for p in range(2)
        ]
        engine = engine_of(plan, store, memory_mib=1)
        engine.apply_batches(batches)
        with store.snapshot() as view:
            held = view.offsets()
        assert 0 < sum(held.values()) < 2 * n  # this is what a kill leaves
        again = engine_of(plan, store, memory_mib=1)
        assert again.offsets == held
        assert again.counters.events == sum(held.values())
        again.apply_batches(batches)
        again.commit()
        _, alone = committed(plan, [batch.frame for batch in batches])
        assert records(store) == records(alone)


class TestQuarantine:
    def test_the_future_is_kept_apart(self):
        store = MemoryStore()
        engine = engine_of(counts(("1h/10m",)), store)
        times = [0, MINUTE, MINUTE + 1]
        engine.apply(clicks(times, received_at=[None, T0, T0]))
        assert (engine.counters.quarantined, engine.counters.applied) == (1, 2)
        assert engine.counters.watermark == T0 + MINUTE
        assert engine.quarantined().get_column("timestamp").to_list() == [T0 + MINUTE + 1]
        engine.commit()
        with store.snapshot() as view:
            [(_, blob)] = view.blobs("quarantine/")
        assert pl.read_ipc(io.BytesIO(blob)).height == 1
        engine.apply(clicks([DAY], received_at=T0))
        assert engine.quarantined().height == 2

    @pytest.mark.parametrize("column", ["user_id", "timestamp", "kind"])
    def test_an_event_without_a_value_does_no_harm(self, column):
        engine = engine_of(every_state())
        frame = clicks([0, 1, 2])
        cut = pl.when(pl.int_range(pl.len()) == 1).then(None).otherwise(pl.col(column))
        engine.apply(frame.with_columns(cut.alias(column)), offset=0)
        assert (engine.counters.quarantined, engine.counters.applied) == (1, 2)
        engine.apply(frame.drop(column), offset=3)
        assert (engine.counters.quarantined, engine.counters.applied) == (4, 2)
        assert engine.offsets == {0: 6}

    def test_an_empty_frame_is_nothing(self):
        engine = engine_of(every_state())
        engine.apply(clicks([]), offset=0)
        engine.apply_batches([])
        assert engine.counters.events == 0


def test_counters_add_up_and_survive_a_restart():
    store = MemoryStore()
    engine = engine_of(every_state(), store, dedup_horizon="1d")
    frame = random_events(1, 500)
    engine.apply(pl.concat([frame, frame[:40]]), offset=0)
    engine.apply(frame, offset=0)
    engine.commit()
    found = engine.counters
    assert found.events == found.applied + found.repeated_ids + found.quarantined == 540
    assert found.duplicates == 540
    again = engine_of(every_state(), store, dedup_horizon="1d")
    assert again.counters == found
    assert again.offsets == {0: 540}
