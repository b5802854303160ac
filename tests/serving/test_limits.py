"""Token buckets against a count by hand."""

from hypothesis import given, settings
from hypothesis import strategies as st

from muma.serving.limits import Limits, LimitsConfig


@settings(max_examples=200)
@given(
    st.lists(st.floats(0, 3), min_size=1, max_size=60),
    st.floats(0.5, 20),
    st.integers(1, 10),
)
def test_never_more_than_burst_and_rate_allow(gaps, rate, burst):
    limits, now, let_in = Limits(LimitsConfig(rate_per_s=rate, burst=burst)), 0.0, []
    for gap in gaps:
        now += gap
        if limits.take("a", now_s=now) == 0.0:
            let_in.append(now)
    for first, then in enumerate(let_in):
        for last in range(first, len(let_in)):
            assert last - first + 1 <= burst + rate * (let_in[last] - then) + 1e-6


@given(st.floats(0.5, 20), st.integers(1, 10))
def test_the_wait_that_is_named_is_enough_and_not_too_much(rate, burst):
    limits = Limits(LimitsConfig(rate_per_s=rate, burst=burst))
    for _ in range(burst):
        assert limits.take("a", now_s=0.0) == 0.0
    wait_s = limits.take("a", now_s=0.0)
    assert limits.take("a", now_s=wait_s * 0.9) > 0.0
    assert limits.take("a", now_s=wait_s * (1 + 1e-9)) == 0.0


def test_keys_do_not_share():
    limits = Limits(LimitsConfig(rate_per_s=1, burst=1))
    assert [limits.take(key, now_s=0.0) for key in "aab"] == [0.0, 1.0, 0.0]


def test_a_clock_that_goes_back_gives_nothing():
    limits = Limits(LimitsConfig(rate_per_s=1, burst=1))
    limits.take("a", now_s=100.0)
    assert limits.take("a", now_s=0.0) == 1.0


def test_memory_is_bounded_and_the_busy_stay():
    limits = Limits(LimitsConfig(rate_per_s=0.001, burst=1, most_keys=3))
    for n in range(1_000):
        limits.take("busy", now_s=0.0)
        limits.take(str(n), now_s=0.0)
        assert len(limits) <= 3
    assert limits.take("busy", now_s=0.0) > 0.0
