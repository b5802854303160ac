"""The offline engine against numbers worked out by hand, and what must hold for every plan."""

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muma import artifact
from muma.config import parse
from muma.errors import ArtifactError, ConfigError, DataError, SchemaError
from muma.events.event import DOMAINS, GAZE_COLUMNS, SOCIAL_COLUMNS
from muma.events.stream import ACTIONS
from muma.features.config import FeaturesConfig
from muma.features.offline.as_of import as_of
from muma.features.offline.keytable import KeyTable
from muma.features.offline.materialise import materialise, open_features
from muma.features.plan import Plan
from muma.progress import reporting
from muma.testing.logs import log_of

SECOND = 1_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
NOON = 20_000 * DAY + 12 * HOUR
PATH = "muma.features.families."


def plan_of(blocks=None, sequences=None, filters=None, **more):
    blocks = {name: {"use": PATH + use, **spec} for name, (use, spec) in (blocks or {}).items()}
    data = {"blocks": blocks, "sequences": sequences or {}, "filters": filters or {}, **more}
    return Plan(parse(FeaturesConfig, data))


def rows_of(*rows):
    schema = {"user_id": pl.Int64, "item_id": pl.Int64, "timestamp": pl.Int64}
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def events_of(*events, **columns):
    """Events (user, item, time) with more columns by name."""
    user, item, time = zip(*events, strict=True)
    return {"user_id": user, "item_id": item, "timestamp": time, **columns}


def world(n_items=6, **tables):
    """A log of nothing but its tables; items 0-2 are of category a, 3-4 of b, 5 of none."""
    log = log_of({"user_id": [], "item_id": [], "timestamp": []}, n_users=4, n_items=n_items)
    items = pl.DataFrame(
        {
            "item_id": pl.Series(range(6), dtype=pl.UInt32),
            "category": ["a", "a", "a", "b", "b", None],
            "author": ["x", "y", "x", "y", None, "z"],
            "domain": pl.Series(["film"] * 5 + ["news"], dtype=pl.Enum(DOMAINS)),
            "published_at": [None, NOON - HOUR, NOON, None, None, None],
        }
    )
    return replace(log, items=items.lazy(), **tables)


def with_events(log, data):
    return log.with_events(log_of(data, n_users=4, n_items=6).events)


def values(plan, log, *rows):
    table = as_of(log, rows_of(*rows), plan)
    return {name: table.column(name).tolist() for name in table.columns}


def test_a_sliding_window_has_whole_panes_at_its_tail_and_ends_before_the_moment():
    plan = plan_of({"n": ("count.Count", {"keys": ["user"], "windows": ["1h/5m"]})})
    at = NOON + 3 * MINUTE  # covers 11:05 <= time < 12:03
    log = log_of(
        events_of(
            (0, 0, NOON - 55 * MINUTE - 1), (0, 0, NOON - 55 * MINUTE), (0, 0, at - 1), (0, 0, at),
            (0, 0, at + 1), (1, 0, at - 1),
        )
    )  # fmt: skip
    found = values(plan, log, (0, 0, at), (0, 0, at + 1), (0, 0, at + 2 * MINUTE), (2, 0, at))
    assert found["user.any.count.1h"] == [2, 3, 3, 0]  # at 12:05 the pane of 11:05 has left


def test_sums_means_and_spreads():
    spec = {"keys": ["user"], "of": ["play"], "windows": ["1d/1h", "all"]}
    plan = plan_of(
        {
            "sum": ("total.Sum", spec),
            "mean": ("mean.Mean", spec),
            "std": ("spread.StdDev", {**spec, "unit": 1}),
            "range": ("extremes.MinMax", spec),
        }
    )
    log = log_of(
        events_of(
            *[(0, 0, NOON - age) for age in (30 * HOUR, 3 * HOUR, 2 * HOUR, HOUR, HOUR)],
            kind=["play", "play", "play", "play", "click"], dwell_ms=[9000, 1000, None, 4000, 50],
        )
    )  # fmt: skip
    found = values(plan, log, (0, 0, NOON), (1, 0, NOON))
    assert found["user.play.dwell_ms.sum.1d"] == [5000, 0]
    assert found["user.play.dwell_ms.sum.all"] == [14000, 0]
    assert found["user.play.dwell_ms.mean.1d"][0] == 2500
    assert found["user.play.dwell_ms.mean.all"][0] == 14000 / 3
    assert found["user.play.dwell_ms.std.1d"][0] == 1500
    assert found["user.play.dwell_ms.min.1d"][0] == 1000
    assert found["user.play.dwell_ms.max.1d"][0] == 4000
    assert found["user.play.dwell_ms.max.all"][0] == 9000
    for name in ("mean.1d", "std.all", "min.1d", "max.all"):
        assert math.isnan(found[f"user.play.dwell_ms.{name}"][1])


def test_an_extreme_leaves_with_its_pane():
    plan = plan_of({"x": ("extremes.MinMax", {"keys": ["global"], "windows": ["10m/5m"]})})
    ages, dwell = (14, 12, 7, 6, 1), [900, 50, 10, 600, 300]
    log = log_of(events_of(*[(0, 0, NOON - age * MINUTE) for age in ages], dwell_ms=dwell))
    moments = [NOON - 11 * MINUTE, NOON - 5 * MINUTE, NOON, NOON + 5 * MINUTE]
    found = values(plan, log, *[(0, 0, at) for at in moments])
    # from 11:40, 11:50, 11:55 and 12:00 on
    assert found["global.any.dwell_ms.max.10m"][:3] == [900, 600, 300]
    assert found["global.any.dwell_ms.min.10m"][:3] == [50, 10, 300]
    assert math.isnan(found["global.any.dwell_ms.max.10m"][3])


def test_decay_halves_with_every_epoch_and_rounds_down():
    plan = plan_of({"n": ("count.Count", {"keys": ["user"], "windows": ["decay/1h"]})})
    log = log_of(events_of((0, 0, NOON), (1, 0, NOON + HOUR // 2)))
    moments = [NOON, NOON + 1, NOON + HOUR // 2, NOON + HOUR, NOON + 3 * HOUR, NOON + 70 * HOUR]
    found = values(plan, log, *[(0, 0, at) for at in moments], (1, 0, NOON + HOUR))
    half = round(4096 * 2**0.5)  # the weight of the middle of an epoch
    assert found["user.any.count.decay1h"] == [
        0, 1, 4096 / half, 0.5, 0.125, 0, (half // 2) / 4096,
    ]  # fmt: skip


def test_decayed_sums_add_up_over_epochs_and_steps():
    plan = plan_of({"sum": ("total.Sum", {"keys": ["user"], "windows": ["decay/1h"]})})
    step = HOUR // 64
    times = [(0, NOON), (0, NOON + HOUR), (1, NOON), (1, NOON + step)]
    log = log_of(events_of(*[(user, 0, time) for user, time in times], dwell_ms=[2, 3, 1, 1]))
    found = values(plan, log, (0, 0, NOON + HOUR + 1), (1, 0, NOON + 2 * step))
    first, second = (round(4096 * 2 ** (n / 64)) for n in (1, 2))
    assert found["user.any.dwell_ms.sum.decay1h"] == [4, (4096 + first) / second]


def test_rates_shares_and_recency():
    plan = plan_of(
        {
            "rate": ("rate.Rate", {"keys": ["item"], "windows": ["1d/1h"], "prior_rate": 0.25,
                                   "prior_trials": 4.0}),
            "share": ("share.Share", {"keys": ["user x category"], "of": ["click"]}),
            "ago": ("recency.Recency", {"keys": ["user"], "of": ["click"], "windows": ["all/2h"]}),
        }
    )  # fmt: skip
    log = with_events(
        world(),
        events_of(
            *[(0, item, NOON - HOUR) for item in (0, 0, 0, 1, 3, 3)],
            kind=["impression", "impression", "click", "click", "click", "impression"],
        ),
    )
    found = values(plan, log, (0, 0, NOON), (0, 3, NOON + HOUR), (0, 5, NOON + HOUR + 1))
    assert found["item.click_per_impression.rate.1d"] == [2 / 6, 2 / 5, 0.25]
    assert found["user_category.click.share.1d"][:2] == [2 / 3, 1 / 3]
    assert math.isnan(found["user_category.click.share.1d"][2])  # item 5 has no category
    assert found["user.click.recency_s.all2h"][:2] == [3600, 7200]
    assert math.isnan(found["user.click.recency_s.all2h"][2])


def test_distinct_counts_forget_what_left_the_window():
    plan = plan_of({"d": ("distinct.Distinct", {"keys": ["user"], "windows": ["1h/30m", "all"]})})
    ages = [(1, 70), (1, 69), (2, 65), (3, 5), (3, 4), (1, 3)]
    log = log_of(events_of(*[(0, item, NOON - age * MINUTE) for item, age in ages]))
    found = values(plan, log, (0, 0, NOON), (0, 0, NOON - 62 * MINUTE), (0, 0, NOON + DAY))
    count = [64 * math.log(64 / (64 - n)) if n else 0 for n in range(4)]
    assert found["user.any.distinct_item.1h"] == pytest.approx([count[2], count[2], 0])
    assert found["user.any.distinct_item.all"] == pytest.approx([count[3], count[2], count[3]])


@pytest.mark.parametrize("window", ["1h/30m", "all", "decay/1d"])
def test_top_categories(window):
    plan = plan_of({"t": ("topk.TopK", {"keys": ["user"], "windows": [window], "k": 2})})
    times = [(3, NOON - 3 * HOUR), *[(item, NOON + 1) for item in (0, 1, 3, 5)]]
    log = with_events(world(), events_of(*[(0, item, time) for item, time in times]))
    label = {"1h/30m": "1h", "all": "all", "decay/1d": "decay1d"}[window]
    found = values(plan, log, (0, 0, NOON + 2), (0, 0, NOON))
    b = {"1h/30m": 1.0, "all": 2.0, "decay/1d": 1.0}[window]
    if window == "decay/1d":  # 9:00 and 12:00 of the same epoch: steps 24 and 32 of 64
        b += round(4096 * 2 ** (24 / 64)) / round(4096 * 2**0.5)
    top = [found[f"user.any.top{rank}_{what}.{label}"][0] for rank in (1, 2) for what in ("category", "share")]  # fmt: skip
    if window == "all":
        assert top == [0, 0.5, 1, 0.5]  # of equal ones the lower index is first
    else:
        ranked = sorted([(0, 2.0), (1, b)], key=lambda pair: -pair[1])
        assert top == pytest.approx([x for code, n in ranked for x in (code, n / (2 + b))])
    before = found[f"user.any.top1_category.{label}"][1]
    assert math.isnan(before) if window == "1h/30m" else before == 1


def test_sessions_open_and_closed():
    spec = {"gap": "10m", "member": "played", "counts": ["long_view", "click"], "horizon": "1h"}
    filters = {"played": {"kinds": ["play", "long_view"]}}
    plan = plan_of({"s": ("session.Session", spec)}, filters=filters)
    minutes = [0, 5, 10, 15, 26, 27]  # 0-10 is a session and 26-27 the next; clicks are no part
    log = log_of(
        events_of(
            *[(0, 0, NOON + m * MINUTE) for m in minutes],
            kind=["play", "click", "long_view", "click", "play", "play"],
            dwell_ms=[100, 7777, 300, 7777, None, 50],
        )
    )
    at = [5, 20, 20.5, 28, 37, 38, 70.5, 87, 87.5]
    found = values(plan, log, *[(0, 0, NOON + int(m * MINUTE)) for m in at])
    name = "user.session.{}.{}10m".format
    assert found[name("events", "open")] == [1, 2, 0, 2, 2, 0, 0, 0, 0]
    assert found[name("events", "closed")] == [0, 0, 2, 2, 2, 2, 2, 2, 0]
    assert found[name("n_long_view", "closed")] == [0, 0, 1, 1, 1, 0, 0, 0, 0]
    assert not any(found[name("n_click", "open")] + found[name("n_click", "closed")])
    assert found[name("dwell_ms", "closed")] == [0, 0, 400, 400, 400, 50, 50, 50, 0]
    assert found[name("dwell_mean_ms", "open")][3] == 50
    assert found[name("length_s", "closed")][2:6] == [600, 600, 600, 60]
    assert found[name("since_start_s", "open")][:2] == [300, 1200]
    assert found[name("since_end_s", "closed")][2] == 630
    assert math.isnan(found[name("length_s", "open")][2])


def test_a_closed_session_is_forgotten_behind_an_open_one():
    plan = plan_of({"s": ("session.Session", {"gap": "10m", "horizon": "1h"})})
    log = log_of(events_of(*[(0, 0, NOON + m * MINUTE) for m in (0, 55, 61)]))
    found = values(plan, log, (0, 0, NOON + HOUR), (0, 0, NOON + HOUR + 1))
    assert found["user.session.events.closed10m"] == [1, 0]
    assert found["user.session.events.open10m"] == [1, 1]


def test_age_clock_and_gaze():
    fixations = pl.DataFrame(
        {
            "user_id": [0, 0], "item_id": [0, 0], "screen": ["s", "s"], "x": [0.5, 0.5],
            "y": [0.1, 0.9], "start": [NOON - HOUR, NOON - 2 * HOUR], "duration_ms": [100, 300],
        },
        schema=GAZE_COLUMNS,
    )  # fmt: skip
    log = with_events(world(gaze=fixations.lazy()), events_of((0, 0, NOON - 2 * DAY)))
    filters = {"head": {"kinds": ["fixation"], "area": [0, 0, 1, 0.3]}}
    blocks = {
        "age": ("item_age.ItemAge", {}),
        "clock": ("clock.Clock", {"utc_offset_hours": 8}),
        "gaze": ("gaze.Gaze", {"of": ["head"]}),
    }
    found = values(plan_of(blocks, filters=filters), log, (0, 0, NOON), (0, 1, NOON), (1, 3, NOON))
    assert found["item.age_s"][:2] == [2 * 86_400, 3600]
    assert found["item.freshness.1d"][0] == 0.25
    assert math.isnan(found["item.age_s"][2])
    assert found["clock.hour"] == [20, 20, 20]
    assert found["user.gaze.head.dwell_ms.1d"][0] == 100
    assert found["user.gaze.head.share.1d"][0] == 0.25
    assert math.isnan(found["user.gaze.head.share.1d"][2])


def test_friends_count_from_when_they_are_followed():
    edges = pl.DataFrame(
        {"src": [0, 0, 3], "dst": [1, 2, 1], "relation": ["f"] * 3, "since": [None, NOON, None]},
        schema=SOCIAL_COLUMNS,
    )
    log = with_events(
        world(social=edges.lazy()),
        events_of((1, 0, NOON - 2), (2, 0, NOON - 1), (2, 1, NOON), (1, 1, NOON + 1)),
    )
    plan = plan_of({"n": ("count.Count", {"keys": ["friends", "friends x item"]})})
    found = values(
        plan, log, (0, 0, NOON + 2), (0, 1, NOON + 2), (3, 1, NOON + 2), (1, 0, NOON + 2)
    )
    assert found["friends.any.count.1d"] == [3, 3, 2, 0]
    assert found["friends_item.any.count.1d"] == [1, 2, 1, 0]


def test_sequences_are_the_newest_members_in_a_set_order():
    sequences = {
        "recent": {"of": "click", "length": 3},
        "fresh": {"of": "any", "length": 2, "horizon": "1h"},
    }
    data = [
        (0, 4, NOON, "click", 5), (0, 2, NOON, "click", None), (0, 2, NOON, "click", 3),
        (0, 2, NOON, "impression", 9), (0, 1, NOON - HOUR, "click", 7), (1, 9, NOON, "click", 1),
    ]  # fmt: skip
    plan = plan_of(sequences=sequences)
    rows = rows_of((0, 0, NOON + 1), (0, 0, NOON), (None, 0, NOON + 1), (0, 0, NOON + HOUR + 1))
    for order in ([0, 1, 2, 3, 4, 5], [5, 3, 2, 4, 1, 0]):
        user, item, time, kind, dwell = zip(*[data[i] for i in order], strict=True)
        log = log_of(
            {"user_id": user, "item_id": item, "timestamp": time, "kind": kind, "dwell_ms": dwell}
        )
        table = as_of(log, rows, plan)
        recent, fresh = table.sequences["recent"], table.sequences["fresh"]
        assert recent.item_BL.tolist() == [[2, 2, 4], [-1, -1, 1], [-1] * 3, [2, 2, 4]]
        assert recent.dwell_BL.tolist()[0] == [-1, 3, 5]
        assert recent.time_BL.tolist()[1] == [0, 0, NOON - HOUR]
        assert recent.kind_BL.tolist()[1] == [-1, -1, ACTIONS.index("click")]
        assert recent.domain_BL.tolist()[1] == [-1, -1, DOMAINS.index("film")]
        assert recent.mask_BL.sum(axis=1).tolist() == [3, 1, 0, 3]
        assert fresh.item_BL.tolist() == [[2, 4], [-1, 1], [-1, -1], [-1, -1]]


BROAD = {
    "count": ("count.Count", {"keys": ["user", "item", "user x category", "global"],
                              "of": ["any", "click"], "windows": ["1h/5m", "all", "decay/1h"]}),
    "mean": ("mean.Mean", {"keys": ["user", "author"], "windows": ["1h/30m", "decay/1h"]}),
    "std": ("spread.StdDev", {"keys": ["user"], "windows": ["1h/5m"]}),
    "range": ("extremes.MinMax", {"keys": ["global", "user"], "windows": ["1h/5m", "all"]}),
    "rate": ("rate.Rate", {"keys": ["item"], "windows": ["1h/5m"]}),
    "ago": ("recency.Recency", {"keys": ["user"], "windows": ["all/90d", "1h/5m"]}),
    "distinct": ("distinct.Distinct", {"keys": ["global"], "windows": ["1h/5m", "all"],
                                       "registers": 16}),
    "top": ("topk.TopK", {"keys": ["global"], "windows": ["1h/5m", "decay/1h"], "buckets": 4}),
    "share": ("share.Share", {"keys": ["user x category"]}),
    "session": ("session.Session", {"keys": ["user", "item"], "gap": "10m"}),
    "age": ("item_age.ItemAge", {}),
    "clock": ("clock.Clock", {}),
}  # fmt: skip
LASTS = {"recent": {"of": "click", "length": 4}, "all": {"key": "global", "length": 3}}


@pytest.fixture(scope="module")
def broad():
    return plan_of(BROAD, LASTS)


def random_events(seed, n=300):
    rng = np.random.default_rng(seed)
    return {
        "user_id": rng.integers(0, 4, n),
        "item_id": rng.integers(0, 6, n),
        "timestamp": NOON + rng.integers(0, 300, n) * MINUTE,
        "kind": rng.choice(["click", "impression", "play"], n),
        "dwell_ms": rng.integers(0, 9000, n),
    }


def random_rows(seed, n=80):
    rng = np.random.default_rng(seed)
    times = NOON + rng.integers(-10, 400, n) * MINUTE
    return rows_of(*zip(rng.integers(-1, 6, n), rng.integers(-1, 8, n), times, strict=True))


def same(table, other):
    assert table.columns == other.columns
    assert np.array_equal(table.values_BF.view(np.int64), other.values_BF.view(np.int64))
    assert table.frame().equals(other.frame())


Event = st.tuples(
    st.integers(0, 3), st.integers(0, 5), st.integers(-70, 70), st.sampled_from(["click", "play"]),
    st.integers(0, 5000),
)  # fmt: skip


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(Event, min_size=1, max_size=25), st.lists(Event, min_size=1, max_size=8))
def test_the_future_changes_nothing(past, future):
    plan = plan_of(BROAD, LASTS)
    before = [(u, i, NOON + m * MINUTE, k, d) for u, i, m, k, d in past]
    after = [(u, i, NOON + abs(m) * MINUTE, k, d) for u, i, m, k, d in future]
    columns = ("user_id", "item_id", "timestamp", "kind", "dwell_ms")

    def log(events):
        return with_events(world(), pl.DataFrame(events, schema=columns, orient="row"))

    rows = rows_of(*[(u, i, NOON - m * MINUTE) for u, i in ((0, 0), (1, 3)) for m in (0, 1, 30)])
    same(as_of(log(before), rows, plan), as_of(log(before + after), rows, plan))


def test_neither_the_order_of_rows_and_events_nor_the_chunks_matter(broad):
    data = random_events(1)
    log, rows = with_events(world(), data), random_rows(2)
    table = as_of(log, rows, broad)
    for chunk_rows in (1, 7, 79):
        same(table, as_of(log, rows, broad, chunk_rows=chunk_rows))
    order = np.random.default_rng(3).permutation(len(rows))
    turned = as_of(log, rows[order], broad)
    same(table, as_of(log, rows.lazy(), broad))
    assert np.array_equal(turned.values_BF, table.values_BF[order], equal_nan=True)
    assert np.array_equal(turned.sequences["all"].item_BL, table.sequences["all"].item_BL[order])
    shuffled = pl.DataFrame(data).sample(fraction=1.0, shuffle=True, seed=4)
    events = log_of(shuffled, n_users=4, n_items=6).events.collect()
    disordered = log.with_events(events.sample(fraction=1.0, shuffle=True, seed=5).lazy())
    same(table, as_of(disordered, rows, broad))
    alone = plan_of(BROAD)  # without sequences, events are only sorted when they must be
    same(as_of(log, rows, alone), as_of(disordered, rows, alone))


def test_slices_of_events_do_not_matter(broad, monkeypatch):
    log, rows = with_events(world(), random_events(1)), random_rows(2)
    table = as_of(log, rows, broad)
    monkeypatch.setattr("muma.features.offline.history.SLICE", 7)
    same(table, as_of(log, rows, broad))


def test_nothing_is_known_of_an_empty_log_and_unknown_ids(broad):
    rows = rows_of((0, 0, NOON), (None, None, NOON), (-1, -1, NOON), (4_000_000_000, 77, NOON))
    for log in (world(), with_events(world(), random_events(1)).between(end=0)):
        table = as_of(log, rows, broad)
        assert table.column("user.any.count.1h").tolist()[0] == 0
        assert np.isnan(table.column("user.any.count.1h")[1:3]).all()
        assert np.isnan(table.column("user_category.any.count.all")[1:]).all()
        assert table.column("user.any.count.1h")[3] == 0
        assert (table.column("global.any.count.all") == 0).all()
        assert not table.sequences["recent"].mask_BL.any()


def test_no_rows_give_no_features(broad):
    log = with_events(world(), random_events(1))
    table = as_of(log, rows_of(), broad)
    assert table.values_BF.shape == (0, len(broad.columns))
    assert table.frame().height == 0


def test_the_moment_alone_needs_no_events():
    plan = plan_of({"clock": ("clock.Clock", {})})
    assert values(plan, world(), (0, None, NOON))["clock.hour"] == [12]


@pytest.mark.parametrize(
    ("rows", "error", "says"),
    [
        ({"user_id": [1], "timestamp": [1]}, SchemaError, "'item_id' is missing"),
        ({"user_id": ["1"], "item_id": [1], "timestamp": [1]}, SchemaError, "'user_id' is String"),
        ({"user_id": [1], "item_id": [1], "timestamp": [1.5]}, SchemaError, "'timestamp' is Float"),
        ({"user_id": [1, 1], "item_id": [1, 1], "timestamp": [1, None]}, DataError, "row 1"),
        ({"user_id": [2**32], "item_id": [1], "timestamp": [1]}, DataError, "at most 4294967295"),
        ({"user_id": [1], "item_id": [1], "timestamp": [2**62 + 1]}, DataError, "beyond"),
    ],
)
def test_rows_that_cannot_be_read_are_refused(rows, error, says, broad):
    with pytest.raises(error, match=says):
        as_of(world(), pl.DataFrame(rows), broad)


def test_a_chunk_has_a_row(broad, tmp_path):
    with pytest.raises(ConfigError, match="at least 1"):
        as_of(world(), rows_of(), broad, chunk_rows=0)
    with pytest.raises(ConfigError, match="at least 1"):
        materialise(world(), rows_of(), broad, tmp_path / "out", chunk_rows=-1)
    assert not (tmp_path / "out").exists()


def test_a_written_table_reads_back_the_same(broad, tmp_path):
    log = replace(with_events(world(), random_events(1)), fingerprint="abc")
    rows = random_rows(2)
    report = materialise(log, rows, broad, tmp_path / "a", chunk_rows=33)
    assert (report.rows, report.columns, report.parts) == (80, broad.columns, 3)
    back = open_features(tmp_path / "a", verify=True).collect()
    assert back.drop("user_id", "item_id", "timestamp").equals(as_of(log, rows, broad).frame())
    known = rows.with_columns(pl.when(pl.col("user_id", "item_id") >= 0).then(pl.all().exclude("timestamp")))  # fmt: skip
    assert back.select("user_id", "item_id", "timestamp").cast(pl.Int64).equals(known)

    again = materialise(log, rows, broad, tmp_path / "b", chunk_rows=33)
    first, second = (artifact.read(tmp_path / x, kind="feature-table", version=1) for x in "ab")
    assert first.files == second.files
    assert first.meta == second.meta
    assert again.parts == 3
    assert first.meta["columns"] == list(broad.columns)
    assert (first.meta["rows"], first.meta["fingerprint"]) == (80, "abc")
    assert first.meta["sequences"] == {"recent": 4, "all": 3}
    assert FeaturesConfig.model_validate(first.config) == broad.config


def test_a_table_in_single_precision(broad, tmp_path):
    log, rows = with_events(world(), random_events(1)), random_rows(2)
    materialise(log, rows, broad, tmp_path / "out", float32=True, config={"mine": 1})
    back = open_features(tmp_path / "out").collect()
    assert back.schema["user.any.count.1h"] == pl.Float32
    assert artifact.read(tmp_path / "out", kind="feature-table", version=1).config == {"mine": 1}
    whole = as_of(log, rows, broad).frame()["user.any.dwell_ms.mean.1h"].cast(pl.Float32)
    assert back["user.any.dwell_ms.mean.1h"].equals(whole)


def test_a_table_without_rows_keeps_its_columns(broad, tmp_path):
    materialise(world(), rows_of(), broad, tmp_path / "out")
    back = open_features(tmp_path / "out").collect()
    assert back.height == 0
    assert set(broad.columns) < set(back.columns)


def test_a_table_that_failed_is_not_there(broad, tmp_path):
    with pytest.raises(DataError):
        materialise(world(), pl.DataFrame({"user_id": [0], "item_id": [0], "timestamp": [None]},
                    schema_overrides={"timestamp": pl.Int64}), broad, tmp_path / "out")  # fmt: skip
    with pytest.raises(ArtifactError, match="not a MUMA artifact"):
        open_features(tmp_path / "out")


def test_progress_comes_to_its_end(broad):
    done = {}

    class Reporter:
        def start(self, label, total):
            done[label] = [total, 0]
            return label

        def advance(self, task, amount):
            done[task][1] += amount

        def finish(self, task):
            done[task].append("finished")

    with reporting(Reporter()):
        as_of(with_events(world(), random_events(1)), random_rows(2), broad, chunk_rows=50)
    assert done["features"] == [80, 80, "finished"]
    assert done["preparing events"] == [300, 300, "finished"]


def test_a_key_table_numbers_what_it_holds():
    rng = np.random.default_rng(5)
    keys = rng.integers(0, 2**63, 5000).astype(np.uint64) << np.uint64(1)
    table = KeyTable.of(np.concatenate([keys, keys[:100], np.zeros(1, dtype=np.uint64)]))
    assert table.size == len(np.unique(keys)) + 1
    assert sorted(table.groups(np.unique(keys)).tolist()) == list(range(1, table.size))
    assert (table.groups(keys | np.uint64(1)) == -1).all()
    assert KeyTable.of(keys[:0]).groups(keys[:3]).tolist() == [-1] * 3
