"""The brute-force reference against libraries that others wrote, and by hand."""

import math
from datetime import UTC, datetime

import numpy as np
import pytest
from datasketches import hll_sketch, tgt_hll_type
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.config import parse
from muma.features.families.clock import ClockConfig
from muma.features.families.distinct import Distinct, DistinctConfig
from muma.features.families.topk import TopKConfig
from muma.features.feature import Moment
from muma.features.window import WEIGHTS as TABLE
from muma.features.window import AllTime, Decay, Gap, Sliding
from muma.rng import derive
from muma.testing.feature_formulas import clock, topk
from muma.testing.feature_reference import WEIGHTS, Ask, Event, Item, RawWorld
from muma.testing.feature_sketch import estimate, registers

MINUTE, HOUR = 60_000_000, 3_600_000_000


def ask(times, at, **event):
    events = [Event(t, 0, 0, "click", "video", **event) for t in times]
    return Ask(RawWorld(events, {0: Item(0, 0, "video", None)}, {}), {}, 0, 0, at)


@pytest.mark.parametrize("size", [16, 64, 256, 4096])
def test_registers_are_those_of_datasketches(size):
    ids = derive(size, "ids").integers(0, 2**32, size=5 * size).tolist()
    peer = hll_sketch(size.bit_length() - 1, tgt_hll_type.HLL_8)
    for number in ids:
        peer.update(number)
    assert registers(ids, size) == list(peer.serialize_updatable()[-size:])


def test_estimate_is_within_its_error():
    rng = derive(1, "estimates")
    for n in (10, 100, 1_000, 20_000):
        found = [
            estimate(registers(rng.integers(0, 2**40, size=n).tolist(), 256)) for _ in range(8)
        ]
        assert abs(np.mean(found) / n - 1) < 3 * 1.04 / math.sqrt(256 * 8)


def test_an_estimate_of_nothing_is_zero():
    assert estimate([0] * 64) == 0.0


def test_weights_of_the_reference_are_those_of_the_definition():
    assert TABLE.tolist() == WEIGHTS


@settings(deadline=None, derandomize=True)
@given(
    st.lists(st.integers(0, 20 * HOUR), min_size=1, max_size=20),
    st.integers(0, 5 * HOUR),
    st.sampled_from([7 * MINUTE, HOUR, 24 * HOUR]),
)
def test_decay_is_near_the_exponential(times, later, half_life):
    at = max(times) + 1 + later
    exact = sum(2.0 ** (-(at - time) / half_life) for time in times)
    found = ask(sorted(times), at).total("user", Decay(half_life), "any")
    assert abs(found - exact) <= 0.012 * exact + 1 / 4096


@settings(derandomize=True)
@given(st.integers(0, 4 * 10**15), st.sampled_from([-9.5, 0.0, 5.75, 8.0]))
def test_clock_is_the_calendar(at, offset):
    seconds = at // 1_000_000 + round(offset * 3600)
    local = datetime.fromtimestamp(max(seconds, 0), UTC)
    found = clock(parse(ClockConfig, {"utc_offset_hours": offset}), ask([], at))
    if seconds >= 0:
        assert (found["clock.hour"], found["clock.weekday"]) == (local.hour, local.weekday())
        assert math.isclose(found["clock.hour_sin"] ** 2 + found["clock.hour_cos"] ** 2, 1.0)


def test_a_sliding_window_by_hand():
    """At 10:07 an hour in panes of 5 minutes reaches back to 9:10."""
    hand = ask([9 * HOUR + 10 * MINUTE - 1, 9 * HOUR + 10 * MINUTE, 10 * HOUR + 7 * MINUTE], 0)
    at = Ask(hand.world, {}, 0, 0, 10 * HOUR + 7 * MINUTE)
    assert at.total("user", Sliding(HOUR, 5 * MINUTE), "any") == 1.0
    later = Ask(hand.world, {}, 0, 0, 10 * HOUR + 7 * MINUTE + 1)
    assert later.total("user", Sliding(HOUR, 5 * MINUTE), "any") == 2.0


def test_sessions_by_hand():
    """A pause of exactly the gap does not end a session, 1 us more does."""
    times = [0, 10, 21, 31]
    for at, is_open, closed in [(41, [21, 31], [0, 10]), (42, [], [21, 31]), (31, [21], [0, 10])]:
        found = ask(times, at)
        assert [e.time for e in found.events("user", Gap(10, "open"), "any")] == is_open
        assert [e.time for e in found.events("user", Gap(10, "closed"), "any")] == closed
    forgotten = ask(times, 52)
    assert forgotten.events("user", Gap(10, "closed", horizon=21), "any")
    assert not forgotten.events("user", Gap(10, "closed", horizon=20), "any")


def test_a_horizon_keeps_what_is_exactly_as_old():
    assert ask([5], 15).events("user", AllTime(10), "any")
    assert not ask([5], 16).events("user", AllTime(10), "any")


def test_top_categories_by_hand():
    items = {
        0: Item(0, 2, "video", None),
        1: Item(0, 1, "video", None),
        2: Item(0, 9, "news", None),
    }
    events = [Event(t, 0, item, "click", "video") for t, item in enumerate([0, 1, 2, 0, 1])]
    hand = Ask(RawWorld(events, items, {}), {}, 0, None, 100)
    config = parse(TopKConfig, {"keys": ["user"], "windows": ["all"], "k": 4, "buckets": 5})
    found = list(topk(config, hand).values())
    assert found[:6] == [1.0, 0.4, 2.0, 0.4, 4.0, 0.2]
    assert all(map(math.isnan, found[6:]))


def test_friends_count_from_the_moment_they_are_followed():
    events = [Event(5, 1, 0, "click", "video"), Event(9, 1, 0, "click", "video")]
    hand = Ask(RawWorld(events, {}, {0: {1: 9}}), {}, 0, None, 100)
    assert [e.time for e in hand.events("friends", AllTime(), "any")] == [9]
    assert hand.events("user", AllTime(), "any") == []


@pytest.mark.parametrize("size", [16, 64, 512])
def test_the_family_estimates_as_the_reference(size):
    """From nothing over the turn of the two estimators to registers that are all full."""
    rng = derive(size, "many")
    sets = [rng.integers(0, 2**32, size=int(size * much)) for much in np.linspace(0, 12, 60)]
    seen = [registers(ids.tolist(), size) for ids in sets] + [[62] * size, [1] * size]
    family = Distinct(parse(DistinctConfig, {"keys": ["user"], "registers": size}))
    moment = Moment(np.zeros(len(seen), np.int64), np.zeros(len(seen), np.int64), {})
    found = family.values([np.array(seen, dtype=np.uint8)[:, None, :]], moment)
    assert found.ravel().tolist() == [estimate(ranks) for ranks in seen]
