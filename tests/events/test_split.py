"""Splits against plain Python; views; spans."""

from __future__ import annotations

from collections import defaultdict

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from muma.errors import DataError
from muma.events.split import (
    VIEWS,
    GlobalTime,
    GlobalTimeConfig,
    LeaveLastOut,
    LeaveLastOutConfig,
    spans,
)
from muma.testing.logs import log_of, random_log

EVENTS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 12), st.booleans()),
    min_size=1,
    max_size=60,
).map(lambda rows: sorted(rows, key=lambda r: r[2]))


def log(rows, **columns):
    user, item, time, inferred = (list(c) for c in zip(*rows, strict=True))
    base = {"user_id": user, "item_id": item, "timestamp": time, "time_inferred": inferred}
    return log_of({**base, "position": range(len(rows)), **columns}, n_users=5, n_items=6)


def places(part):
    return part.events.collect()["position"].to_list()


@settings(max_examples=120, deadline=None)
@given(EVENTS, st.floats(0.1, 0.8), st.floats(0.05, 0.15), st.booleans())
def test_global_time(rows, train, validation, ignore):
    true = [t for *_, t, inferred in rows if not (ignore and inferred)]
    config = GlobalTimeConfig(train=train, validation=validation, ignore_inferred=ignore)
    try:
        split = GlobalTime(config).split(log(rows))
    except DataError:
        if true:
            cuts = [true[int(s * len(true))] for s in (train, train + validation)]
            times = [t for *_, t, _ in rows]
            parts = [t < cuts[0] for t in times], [cuts[0] <= t < cuts[1] for t in times]
            assert not (any(parts[0]) and any(parts[1]))  # the last part is never empty
        return
    first, second = split.validation_start, split.test_start
    assert first == true[int(train * len(true))]
    assert second == true[int((train + validation) * len(true))]
    for part, inside in [
        (split.train, lambda t: t < first),
        (split.validation, lambda t: first <= t < second),
        (split.test, lambda t: t >= second),
    ]:
        assert places(part) == [k for k, row in enumerate(rows) if inside(row[2])]
    assert places(split.before_test) == [k for k, row in enumerate(rows) if row[2] < second]


def test_global_time_proportions():
    split = GlobalTime().split(random_log(2, n_events=2_000))  # all times differ
    assert [n for n, _, _ in spans([split.train, split.validation, split.test])] == [1400, 300, 300]
    (_, _, a), (_, b, c), (_, d, _) = spans([split.train, split.validation, split.test])
    assert a < b == split.validation_start
    assert c < d == split.test_start


def test_global_time_needs_true_times_and_three_parts():
    with pytest.raises(DataError, match="no event has a true time"):
        GlobalTime().split(log([(0, 0, 1, True)] * 9))
    with pytest.raises(DataError, match=r"part is empty.*LeaveLastOut"):
        GlobalTime().split(log([(0, 0, 1, False)] * 9))
    with pytest.raises(ValidationError, match="must leave something for test"):
        GlobalTimeConfig(train=0.8, validation=0.2)


KIND = st.sampled_from(["click", "impression", "rating", "hide"])


@settings(max_examples=120, deadline=None)
@given(EVENTS, st.data(), st.integers(3, 5))
def test_leave_last_out(rows, data, fewest):
    kinds = data.draw(st.lists(KIND, min_size=len(rows), max_size=len(rows)))
    config = LeaveLastOutConfig(kinds=("click", "rating"), fewest=fewest)
    acts = defaultdict(dict)  # user -> (item, time) -> rows: one act, however many kinds
    for k, (row, kind) in enumerate(zip(rows, kinds, strict=True)):
        if kind in config.kinds:
            acts[row[0]].setdefault((row[1], row[2]), []).append(k)
    mine = {user: list(found.values()) for user, found in acts.items()}  # times in file order
    enough = [found for found in mine.values() if len(found) >= fewest]
    if not enough:
        with pytest.raises(DataError):
            LeaveLastOut(config).split(log(rows, kind=kinds))
        return
    split = LeaveLastOut(config).split(log(rows, kind=kinds))
    test = sorted(k for found in enough for k in found[-1])
    validation = sorted(k for found in enough for k in found[-2])
    kept = sorted(k for found in mine.values() for act in found for k in act)
    assert places(split.test) == test
    assert places(split.validation) == validation
    assert places(split.train) == [k for k in kept if k not in {*test, *validation}]
    assert sorted(places(split.before_test)) == [k for k in kept if k not in test]
    assert split.test_start is None


@settings(max_examples=80, deadline=None)
@given(EVENTS, st.sampled_from([None, "train"]))
def test_views(rows, against):
    try:
        split = GlobalTime(GlobalTimeConfig(train=0.4, validation=0.2)).split(log(rows))
    except DataError:
        assume(False)
    history = split.train if against else None
    known = (split.train if against else split.before_test).events.collect()
    users, items = set(known["user_id"]), set(known["item_id"])
    test = split.test.events.collect()
    views = {name: places(split.view(name, history=history)) for name in VIEWS}
    assert views["all"] == test["position"].to_list()
    for name, column, keep in [
        ("warm_user", "user_id", lambda v: v in users),
        ("cold_user", "user_id", lambda v: v not in users),
        ("cold_item", "item_id", lambda v: v not in items),
    ]:
        assert views[name] == test.filter(pl.Series(map(keep, test[column])))["position"].to_list()
    assert sorted(views["warm_user"] + views["cold_user"]) == views["all"]
