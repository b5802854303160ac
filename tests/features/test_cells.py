"""Compiled reads of merged words against NumPy, keys that are not there, ratios, the clock."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.features.cells import CellReader, without_key
from muma.features.families.clock import Clock, ClockConfig
from muma.features.families.mean import ratio
from muma.features.feature import Moment, Partial
from muma.features.measure import Measure
from muma.features.window import AllTime

seeds = st.integers(0, 2**32 - 1)


@settings(deadline=None)
@given(seeds)
def test_extremes_are_counted_from_their_ends(seed):
    rng = np.random.default_rng(seed)
    merged_BM = rng.integers(0, 4, (int(rng.integers(0, 9)), 5))
    at_B = np.zeros(len(merged_BM), dtype=np.int64)
    for op in ("min", "max"):
        measures = [Measure("dwell_ms"), Measure("completion")]
        partials = [Partial(op, measure) for measure in measures]
        places = [4, 1]
        found_BF = CellReader.of(places, partials, [AllTime()] * 2).read(merged_BM, at_B)
        for f, (place, measure) in enumerate(zip(places, measures, strict=True)):
            word_B = merged_BM[:, place]
            value_B = measure.high + 1 - word_B if op == "min" else measure.low - 1 + word_B
            np.testing.assert_array_equal(found_BF[:, f], np.where(word_B > 0, value_B, np.nan))


@given(seeds)
@settings(deadline=None)
def test_without_a_key_everything_that_needs_it_is_nan(seed):
    rng = np.random.default_rng(seed)
    requests, kinds, columns = rng.integers(0, 6, 3)
    value_BF = rng.normal(size=(requests, columns))
    present_BK, keys_FK = rng.random((requests, kinds)) < 0.7, rng.random((columns, kinds)) < 0.4
    wanted_BF = np.where(~present_BK @ keys_FK.T, np.nan, value_BF)
    without_key(value_BF, present_BK, keys_FK)
    np.testing.assert_array_equal(value_BF, wanted_BF)


@settings(deadline=None)
@given(seeds, st.sampled_from([(), (3,), (2, 5), (1, 1), (2, 3, 4)]))
def test_a_ratio_of_any_shape_and_layout(seed, shape):
    rng = np.random.default_rng(seed)
    top, bottom = rng.normal(size=shape), rng.integers(0, 3, shape).astype(float)
    some = bottom > 0
    wanted = np.where(some, top / np.where(some, bottom, 1.0), np.nan)
    np.testing.assert_array_equal(ratio(np.asarray(top), np.asarray(bottom)), wanted)
    np.testing.assert_array_equal(ratio(np.asarray(top).T, np.asarray(bottom).T), wanted.T)


@settings(deadline=None)
@given(st.lists(st.integers(-(2**50), 2**51), max_size=5), st.integers(-14, 14))
def test_the_clock_is_that_of_the_calendar(times, offset):
    at_B = np.array(times, dtype=np.int64)
    found_BC = Clock(ClockConfig(utc_offset_hours=offset)).values([], Moment(at_B, at_B, {}))[:, 0]
    local_B = (at_B + offset * 3_600_000_000).astype("datetime64[us]").astype(object)
    for row, local in zip(found_BC, local_B, strict=True):
        assert row[0] == local.hour
        assert abs(row[1] - np.sin(2 * np.pi * local.hour / 24)) < 1e-12
        assert abs(row[2] - np.cos(2 * np.pi * local.hour / 24)) < 1e-12
        assert row[3] == local.weekday()
        assert row[4] == (local.weekday() >= 5)
