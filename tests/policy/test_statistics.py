"""Statistics of arms against sums over all feedback, in any order; priors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.config import parse
from muma.errors import ConfigError, DataError
from muma.policy.checks import MOST_ITEMS, check_feedback
from muma.policy.discounted import Discounted, DiscountedConfig
from muma.policy.forgetting import Stationary
from muma.policy.policy import Feedback
from muma.policy.prior import Prior
from muma.policy.sliding_window import SlidingWindow, SlidingWindowConfig
from muma.policy.statistics import ArmStatistics
from muma.policy.thompson import Thompson, ThompsonConfig
from muma.ranking.ranker import Slate
from muma.testing.policy_suite import context_of, feedback_of, slate_of

HALF_LIFE, LENGTH, PANE = 40, 60, 20


def weights(kind, time_E, at):
    """Weight of each feedback by its definition."""
    if kind is Stationary:
        return np.ones(len(time_E))
    if kind is Discounted:
        return 0.5 ** ((at - time_E) / HALF_LIFE)
    return (time_E >= at // PANE * PANE - LENGTH + PANE).astype(float)


def rule(kind):
    if kind is Discounted:
        return Discounted(DiscountedConfig(half_life_us=HALF_LIFE))
    if kind is SlidingWindow:
        return SlidingWindow(SlidingWindowConfig(length_us=LENGTH, pane_us=PANE))
    return Stationary()


rows = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from([0.0, 1.0, 0.25]), st.integers(0, 200)),
    max_size=40,
)


@pytest.mark.parametrize("kind", [Stationary, Discounted, SlidingWindow])
@settings(max_examples=80, deadline=None)
@given(rows=rows, later=st.integers(0, 100), cuts=st.lists(st.integers(0, 40), max_size=4))
def test_sums_over_all_feedback_whatever_the_batches(kind, rows, later, cuts):
    arms = ArmStatistics(rule(kind))
    item_E, reward_E, time_E = (
        np.array(column, dtype=dtype)
        for column, dtype in zip(
            zip(*rows, strict=True) if rows else ([], [], []), (int, float, int), strict=True
        )
    )
    for part in np.split(np.arange(len(rows)), sorted(cuts)):
        one = np.ones(len(part))
        arms.add(Feedback(item_E[part], reward_E[part], time_E[part], one))
    latest = int(time_E.max(initial=-1))
    assert arms.as_of == latest
    at = max(latest, 0) + later
    moments, total = arms.read(np.arange(8), at)
    weight_E = weights(kind, time_E, at)
    for item in range(8):
        w, r = weight_E[item_E == item], reward_E[item_E == item]
        found = [moments.count_N[item], moments.sum_N[item], moments.square_N[item]]
        np.testing.assert_allclose(found, [w.sum(), w @ r, w @ r**2], rtol=1e-12, atol=1e-15)
    assert total == pytest.approx(weight_E.sum(), rel=1e-12)
    early, _ = arms.read(np.arange(8), 0)  # a request before the latest feedback reads as of that
    now, _ = arms.read(np.arange(8), latest)
    np.testing.assert_array_equal(early.count_N, now.count_N)


def test_discounting_over_many_half_lives_neither_overflows_nor_loses_the_new():
    arms = ArmStatistics(rule(Discounted))
    one = np.ones(2)
    arms.add(Feedback(np.array([0, 0]), one, np.array([0, 10**9]), one))
    arms.add(Feedback(np.array([1, 0]), one, np.array([3, 10**9 - HALF_LIFE]), one))
    moments, total = arms.read(np.array([0, 1]), 10**9)
    np.testing.assert_array_equal(moments.count_N, [1.5, 0.0])
    assert total == 1.5


def test_rows_grow_and_unseen_items_are_empty():
    arms = ArmStatistics()
    one = np.ones(1)
    for item in (0, 63, 64, 5_000):
        arms.add(Feedback(np.array([item]), one, np.array([item]), one))
    moments, total = arms.read(np.array([0, 63, 64, 5_000, 4_999, 10**6]), 9_999)
    assert moments.count_N.tolist() == [1, 1, 1, 1, 0, 0]
    assert total == 4
    assert len(arms.rows()[0]) == 5_001


def test_feedback_that_cannot_be():
    feedback = feedback_of(5)
    with pytest.raises(DataError, match="dense index"):
        check_feedback(
            Feedback(np.full(5, MOST_ITEMS), *([np.ones(5)] * 1), feedback.time_E, np.ones(5))
        )
    with pytest.raises(DataError, match="give integers"):
        check_feedback(Feedback(np.ones(5), np.ones(5), feedback.time_E, np.ones(5)))
    with pytest.raises(ConfigError, match="whole number of panes"):
        parse(SlidingWindowConfig, {"length_us": 50, "pane_us": 20})


class TestPrior:
    def test_a_new_item_starts_from_its_content(self):
        policy = Thompson(ThompsonConfig(prior=Prior(label="click", strength=10)))
        slate = slate_of(8)
        np.testing.assert_allclose(
            policy.expected(slate, context_of()), slate.probability["click"], rtol=1e-12
        )
        item, one = slate.item_N[2], np.ones(30)
        policy.learn(Feedback(np.full(30, item), one, np.arange(30), one))
        wanted = (10 * slate.probability["click"][2] + 30) / 40
        assert policy.expected(slate, context_of())[2] == pytest.approx(wanted)

    def test_what_it_needs(self):
        policy = Thompson(ThompsonConfig(prior=Prior(label="like", strength=10)))
        with pytest.raises(DataError, match="'like'; it has: click"):
            policy.expected(slate_of(3), context_of())
        with pytest.raises(DataError, match="it has: none"):
            policy.expected(Slate.plain(np.arange(3)), context_of())
        slate = slate_of(3)
        slate.probability["like"] = np.array([0.1, np.nan, 0.2])
        with pytest.raises(DataError, match="is nan"):
            policy.expected(slate, context_of())

    def test_a_sure_prior_is_still_a_posterior(self):
        policy = Thompson(ThompsonConfig(prior=Prior(mean=0.0, strength=1)))
        p_N = policy.next_slot(slate_of(5), context_of(), [])
        assert np.isfinite(p_N).all()
        with pytest.raises(ConfigError, match="a posterior needs a prior"):
            parse(ThompsonConfig, {"prior": {"strength": 0}})
