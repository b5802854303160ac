"""Histories follow the log, and sequences are what a plain loop over each user gives."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.errors import DataError
from muma.events.event import DOMAINS
from muma.events.interactions import Signal, interactions
from muma.events.stream import ACTIONS
from muma.interest.histories import completion_quantiles, empty_sequences, histories
from muma.testing.logs import SECOND, log_of, random_log, tiny_log


def test_events_are_the_interactions():
    log = random_log(3)
    events, wanted = histories(log), interactions(log)
    for ours, theirs in (("user_E", "user_E"), ("item_E", "item_E"), ("time_E", "timestamp_E")):
        np.testing.assert_array_equal(getattr(events, ours), getattr(wanted, theirs))
    assert set(events.kind_E) == {ACTIONS.index("click")}
    assert set(events.domain_E) == {DOMAINS.index("film")}
    assert set(events.dwell_E) == set(events.skipped_E) == {-1}


def test_kind_dwell_and_length_come_from_the_act():
    log = log_of(
        {
            "user_id": [0, 0, 0, 0],
            "item_id": [1, 1, 2, 1],
            "timestamp": [5, 5, 9, 20],
            "kind": ["click", "play", "play", "like"],
            "dwell_ms": [None, 700, 30, None],
            "item_duration_ms": [1000, 1000, None, None],
        }
    )
    events = histories(log)
    assert events.item_E.tolist() == [1, 2, 1]
    assert [ACTIONS[kind] for kind in events.kind_E] == ["click", "play", "like"]
    assert events.dwell_E.tolist() == [700, 30, -1]
    assert events.duration_E.tolist() == [1000, -1, -1]


def test_what_was_shown_and_passed_over():
    shown = "impression"
    log = log_of(
        {
            "user_id": [0, 0, 0, 0, 0, 1],
            "item_id": [3, 4, 1, 2, 5, 6],
            "timestamp": [1, 2, 2, 7, 9, 1],
            "kind": [shown, shown, "click", "click", shown, shown],
        }
    )
    assert histories(log).skipped_E.tolist() == [4, -1]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 50), st.integers(1, 9), st.integers(0, 400_000))
def test_sequences_equal_a_loop(seed, length, before_s):
    log = random_log(seed, n_users=6, n_items=9, n_events=60)
    events = histories(log)
    user_B = np.array([5, 0, 3, 0])
    before = before_s * SECOND
    found = events.sequences(user_B, length, before_B=np.full(4, before))
    rows = log.events.collect().filter(pl.col("timestamp") < before)
    for row, user in enumerate(user_B):
        mine = rows.filter(pl.col("user_id") == user).tail(length)
        keep = found.mask_BL[row]
        assert found.item_BL[row][keep].tolist() == mine["item_id"].to_list()
        assert found.time_BL[row][keep].tolist() == mine["timestamp"].to_list()
        assert (np.diff(keep.astype(int)) >= 0).all()
        assert set(found.item_BL[row][~keep]) <= {-1}
        assert set(found.time_BL[row][~keep]) <= {0}


def test_no_events_give_padding_and_no_invention():
    events = histories(tiny_log({}, n_users=2, n_items=2))
    assert not events.sequences(np.array([0, 1]), 5).mask_BL.any()
    with pytest.raises(DataError):
        empty_sequences(np.ones((1, 1), dtype=bool))


def test_joined_logs_are_one_log():
    log = random_log(7)
    cut = 150 * 1800 * SECOND
    both, new_E = histories(log.between(None, cut)).joined(histories(log.between(cut, None)))
    whole = histories(log)
    for name in ("user_E", "item_E", "time_E"):
        np.testing.assert_array_equal(getattr(both, name), getattr(whole, name))
    np.testing.assert_array_equal(new_E, whole.time_E >= cut)
    assert 0 < new_E.sum() < len(whole)


def test_signal_decides_what_counts():
    log = log_of(
        {"user_id": [0, 0], "item_id": [0, 1], "timestamp": [1, 2], "kind": ["click", "like"]}
    )
    assert histories(log, Signal(kinds={"like": 1.0})).item_E.tolist() == [1]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 30), st.sampled_from([2_000, 60_000, -1])), max_size=20))
def test_completion_is_a_mid_rank_among_equals_in_length(pairs):
    dwell_E = np.array([pair[0] for pair in pairs], dtype=np.int64)
    duration_E = np.array([pair[1] for pair in pairs], dtype=np.int64)
    for found, dwell, duration in zip(
        completion_quantiles(dwell_E, duration_E), dwell_E, duration_E, strict=True
    ):
        peers = dwell_E[(duration_E == duration) & (dwell_E >= 0)]
        wanted = ((peers < dwell).sum() + (peers == dwell).sum() / 2) / max(1, len(peers))
        assert np.isnan(found) if dwell < 0 else found == pytest.approx(wanted, abs=1e-6)
