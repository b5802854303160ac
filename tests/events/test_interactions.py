"""From events to positive interactions: order, collapse, weights, exclusion."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.config import parse
from muma.errors import ConfigError, DataError
from muma.events.event import KINDS
from muma.events.interactions import Signal, interactions, seen
from muma.testing.logs import log_of, tiny_log

ROWS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 4),
        st.integers(0, 5),
        st.sampled_from(KINDS),
        st.sampled_from([None, "a", "b"]),
    ),
    max_size=40,
)


def log_from(rows):
    names = ["user_id", "item_id", "timestamp", "kind", "request_id"]
    types = [pl.Int64, pl.Int64, pl.Int64, pl.String, pl.String]
    frame = pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")
    return log_of(frame, n_users=4, n_items=5)


def by_hand(rows, signal):
    """The collapse rule in plain loops: first within a request, then at one moment."""
    rows = sorted(rows, key=lambda row: row[2])
    requests, moments = {}, {}
    for at, (user, item, time, kind, request) in enumerate(rows):
        if kind in signal.kinds:
            key = (user, item, at if request is None else request)
            first = requests.setdefault(key, [time, 0.0])
            first[1] = max(first[1], signal.kinds[kind])
    for (user, item, _), (time, weight) in requests.items():
        key = (user, item, time)
        moments[key] = max(moments.get(key, 0.0), weight)
    return sorted(
        [(u, i, t, w) for (u, i, t), w in moments.items()], key=lambda row: (row[0], row[2])
    )


@settings(deadline=None)
@given(ROWS)
def test_equals_the_rule_written_as_loops(rows):
    signal = Signal(kinds={"click": 1.0, "like": 3.0, "play": 2.0, "rating": 0.5})
    found = interactions(log_from(rows), signal)
    columns = (found.user_E, found.item_E, found.timestamp_E, found.weight_E)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == by_hand(rows, signal)
    assert found.indptr[-1] == len(found)


@settings(deadline=None)
@given(ROWS)
def test_views_agree(rows):
    found = interactions(log_from(rows))
    dense = np.zeros((4, 5))
    for user, items in enumerate(found.histories):
        dense[user, items] = 1
        ages = found.ages[found.indptr[user] : found.indptr[user + 1]]
        assert ages.tolist() == list(range(len(items)))[::-1]
    assert np.array_equal(found.matrix().toarray(), dense)
    assert np.array_equal(seen(log_from(rows), [3, 0, 3]).toarray(), dense[[3, 0, 3]] > 0)
    kept = found.within(np.array([4, 1]))
    assert np.array_equal(kept.matrix().toarray(), dense[:, [4, 1]])


def test_equal_times_keep_the_order_of_the_log():
    log = log_of({"user_id": [0] * 4, "item_id": [3, 0, 2, 1], "timestamp": [5, 5, 5, 4]})
    assert interactions(log).item_E.tolist() == [1, 3, 0, 2]


def test_impressions_and_hides_are_never_positive_by_default():
    log = log_of(
        {
            "user_id": [0, 0, 0],
            "item_id": [0, 1, 2],
            "timestamp": [1, 2, 3],
            "kind": ["impression", "hide", "click"],
        }
    )
    assert interactions(log).item_E.tolist() == [2]


def test_low_and_missing_ratings_are_not_positive():
    log = log_of(
        {
            "user_id": [0] * 4,
            "item_id": [0, 1, 2, 3],
            "timestamp": [1, 2, 3, 4],
            "kind": ["rating", "rating", "rating", "click"],
            "value": [3.0, 4.0, None, 1.0],
        }
    )
    assert interactions(log, Signal(min_value=4)).item_E.tolist() == [1, 3]
    assert interactions(log).item_E.tolist() == [0, 1, 2, 3]


def test_pairs_keep_the_greatest_weight():
    log = log_of(
        {
            "user_id": [0, 0],
            "item_id": [0, 0],
            "timestamp": [1, 2],
            "kind": ["like", "click"],
        }
    )
    found = interactions(log, Signal(kinds={"like": 3, "click": 1}))
    assert found.matrix(binary=False).toarray().tolist() == [[3.0]]
    assert found.matrix().toarray().tolist() == [[1.0]]


@pytest.mark.parametrize("kinds", [{"clik": 1.0}, {"click": 0.0}, {"click": -1.0}])
def test_wrong_kinds_are_refused(kinds):
    with pytest.raises(ConfigError, match=r"clik|above 0"):
        parse(Signal, {"kinds": kinds})


def test_unknown_users_are_refused():
    with pytest.raises(DataError, match=r"user index 2 is outside \[0, 2\)"):
        seen(tiny_log({0: [0], 1: [1]}), [0, 2])
