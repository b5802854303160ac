"""What each policy draws, against closed forms, brute force and other ways to compute it."""

import ast
import itertools
import math
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from muma.config import parse
from muma.errors import ConfigError
from muma.policy.cycle import Cycle, CycleConfig
from muma.policy.epsilon_greedy import EpsilonGreedy, EpsilonGreedyConfig
from muma.policy.floor import Floor, floored, rank
from muma.policy.largest import largest_beta, largest_normal
from muma.policy.policy import Feedback
from muma.policy.prior import Prior
from muma.policy.softmax import SoftmaxConfig, SoftmaxPolicy
from muma.policy.stochastic_ucb import StochasticUCB, StochasticUCBConfig
from muma.policy.thompson import QUADRATURE_ERROR, Thompson, ThompsonConfig
from muma.policy.ucb import UCB
from muma.ranking.ranker import Slate
from muma.rng import derive
from muma.testing.discovery import classes_in
from muma.testing.policy_suite import NOW, context_of, feedback_of, lists_of, slate_of

BARE = Floor(least=0)
NONE = Prior(strength=0)


def learned(policy, counts, sums):
    """A policy that saw `counts` slots of items 0, 1 ..., of which `sums` were rewarded."""
    item_E = np.repeat(np.arange(len(counts)), counts)
    reward_E = np.concatenate([np.arange(n) < s for n, s in zip(counts, sums, strict=True)])
    n = len(item_E)
    policy.learn(Feedback(item_E, reward_E.astype(float), np.full(n, NOW - 9), np.ones(n)))
    return policy


class TestFloor:
    @settings(max_examples=200, deadline=None)
    @given(
        st.integers(1, 60),
        st.floats(0.0005, 0.3),
        st.floats(0.3, 1.0),
        st.data(),
    )
    def test_every_candidate_of_the_support_has_it(self, n, least, mass, data):
        floor = Floor(least=least, mass=mass)
        index_N = np.array(data.draw(st.lists(st.floats(-9, 9), min_size=n, max_size=n)))
        order_N = rank(index_N, np.zeros(n), np.arange(n))
        taken = np.array(
            data.draw(st.permutations(range(n)))[: data.draw(st.integers(0, n - 1))], int
        )
        slot = floored(lambda place: special.softmax(index_N[place]), order_N, floor)
        p_N = slot(taken)
        left = [i for i in order_N.tolist() if i not in taken]
        most = max(1, math.floor(mass / least + 1e-9))
        assert set(np.flatnonzero(p_N)) == set(left[:most])
        assert p_N.sum() == pytest.approx(1, abs=1e-12)
        if len(left) > 1 and most > 1:
            assert p_N[p_N > 0].min() >= least * (1 - 1e-12)
            assert least * np.count_nonzero(p_N) <= mass * (1 + 1e-9)

    def test_one_that_cannot_hold_is_refused(self):
        with pytest.raises(ConfigError, match="more than the mass"):
            parse(Floor, {"least": 0.3, "mass": 0.2})
        for wrong in (-0.1, 1.1):
            with pytest.raises(ConfigError, match="least"):
                parse(Floor, {"least": wrong})


class TestUCB:
    def test_eq_12_by_hand(self):
        counts, sums = [5, 50, 500, 3], [2, 30, 250, 0]
        policy = learned(UCB(), counts, sums)
        slate = Slate.plain(np.array([3, 1, 0, 2]))
        q = [
            s / n + math.sqrt(2 * math.log(sum(counts)) / n)
            for n, s in zip(counts, sums, strict=True)
        ]
        decision = policy.choose(slate, context_of(), 4, derive(0))
        assert decision.item_K.tolist() == sorted(range(4), key=lambda i: -q[i])
        assert policy.expected(slate, context_of()).tolist() == [0.0, 0.6, 0.4, 0.5]

    def test_unseen_items_first_in_the_rankers_order(self):
        policy = learned(UCB(), [5, 5], [5, 5])
        slate = Slate.plain(np.array([0, 7, 8, 1]), np.array([9.0, 1.0, 2.0, 8.0]))
        decision = policy.choose(slate, context_of(), 4, derive(0))
        assert decision.item_K.tolist() == [8, 7, 0, 1]
        assert decision.explored_K.tolist() == [True, True, False, False]


class TestCycle:
    def test_its_mean_of_r_over_p_is_biased_as_told(self):
        """True rate 0.05, shown with p = 0.01: the mean over selected rounds is 100 x 0.05."""
        n = 20_000
        rng = derive(1, "cycle")
        reward_E = (rng.random(n) < 0.05).astype(float)
        policy = Cycle()
        policy.learn(Feedback(np.zeros(n, int), reward_E, np.arange(n), np.full(n, 0.01)))
        slate = Slate.plain(np.array([0]))
        found = policy.expected(slate, context_of())[0]
        assert found == pytest.approx(100 * reward_E.mean())
        assert found == pytest.approx(5.0, abs=4 * 100 * math.sqrt(0.05 * 0.95 / n))
        unweighted = learned(UCB(), [n], [int(reward_E.sum())])
        assert unweighted.expected(slate, context_of())[0] == pytest.approx(0.05, abs=0.01)

    def test_the_best_index_or_any(self):
        policy = learned(Cycle(CycleConfig(mix=0.2)), [10, 10, 10, 10], [1, 9, 2, 3])
        p_N = policy.next_slot(Slate.plain(np.arange(4)), context_of(), [])
        np.testing.assert_allclose(p_N, [0.05, 0.85, 0.05, 0.05])


class TestSoftmax:
    def test_plackett_luce_in_closed_form(self):
        slate = slate_of(6, seed=1)
        policy = SoftmaxPolicy(SoftmaxConfig(temperature=0.7, floor=BARE))
        weight_N = np.exp(slate.score_N / 0.7)
        chance = lists_of(policy, slate, context_of(), 3)
        assert len(chance) == 120
        for places in itertools.permutations(range(6), 3):
            wanted, left = 1.0, weight_N.sum()
            for place in places:
                wanted, left = wanted * weight_N[place] / left, left - weight_N[place]
            assert chance[places] == pytest.approx(wanted, rel=1e-12)

    def test_scores_far_apart_lose_nothing(self):
        slate = Slate.plain(np.arange(3), np.array([800.0, 400.0, 0.0]))
        decision = SoftmaxPolicy(SoftmaxConfig(temperature=1.0, floor=BARE)).choose(
            slate, context_of(), 3, derive(0)
        )
        assert decision.item_K.tolist() == [0, 1, 2]
        assert decision.propensity_K.tolist() == [1, 1, 1]

    def test_cold_is_greedy_and_hot_is_even(self):
        slate = slate_of(5)
        for temperature, wanted in ((1e-6, [1, 0, 0, 0, 0]), (1e9, [0.2] * 5)):
            policy = SoftmaxPolicy(SoftmaxConfig(temperature=temperature, floor=BARE))
            np.testing.assert_allclose(policy.next_slot(slate, context_of(), []), wanted, atol=1e-8)


class TestStochasticUCB:
    def test_softmax_and_epsilon_over_the_index(self):
        counts, sums = [40, 60, 100], [10, 30, 20]
        q = np.array(sums) / counts + np.sqrt(2 * np.log(200) / np.array(counts))
        slate = Slate.plain(np.arange(3))
        soft = StochasticUCBConfig(temperature=0.3, floor=BARE)
        p_N = learned(StochasticUCB(soft), counts, sums).next_slot(slate, context_of(), [])
        np.testing.assert_allclose(p_N, special.softmax(q / 0.3))
        some = StochasticUCBConfig(draw="epsilon", epsilon=0.3, floor=BARE)
        p_N = learned(StochasticUCB(some), counts, sums).next_slot(slate, context_of(), [])
        np.testing.assert_allclose(p_N, 0.1 + 0.7 * (q == q.max()))


def test_epsilon_decays_to_its_least():
    config = EpsilonGreedyConfig(epsilon=0.4, half_life=100, least=0.05, floor=BARE, prior=NONE)
    slate = Slate.plain(np.arange(2))
    for n, epsilon in ((0, 0.4), (100, 0.2), (200, 0.1), (900, 0.05)):
        policy = learned(EpsilonGreedy(config), [n // 2, n - n // 2], [0, n - n // 2])
        worse = 1 if n == 0 else 0
        p_N = policy.next_slot(slate, context_of(), [])
        assert p_N[worse] == pytest.approx(epsilon / 2)


def dense_largest(a_n, b_n):
    """P(largest) of Beta variables on 400,000 points, with SciPy's distribution functions."""
    ends = [stats.beta(a, b).ppf([1e-13, 1 - 1e-13]) for a, b in zip(a_n, b_n, strict=True)]
    points = [np.linspace(*special.logit(np.clip(e, 1e-300, 1 - 1e-16)), 60_000) for e in ends]
    y = np.unique(np.concatenate(points))
    below, above = special.expit(y), special.expit(-y)
    cdf = np.stack(
        [
            np.where(y < 0, special.betainc(a, b, below), 1 - special.betainc(b, a, above))
            for a, b in zip(a_n, b_n, strict=True)
        ]
    )
    others = np.stack([np.delete(cdf, i, axis=0).prod(axis=0) for i in range(len(a_n))])
    return ((others[:, 1:] + others[:, :-1]) / 2 * np.diff(cdf, axis=1)).sum(axis=1)


class TestLargest:
    @pytest.mark.parametrize(
        ("a", "b"),
        [
            ([1, 1, 1], [1, 1, 1]),
            ([3, 40, 0.5, 7], [30, 400, 0.5, 60]),
            ([1, 5e4, 5e3, 20, 0.1], [1, 5e4, 5e3, 400, 10]),  # narrow and wide ones together
            ([2, 5_000, 5_010, 4_990], [2, 5_000, 5_000, 5_000]),
            ([6, 2, 9, 1], [9_000, 300, 20_000, 80]),  # rare clicks
        ],
    )
    def test_beta_against_a_dense_grid(self, a, b):
        a_n, b_n = np.array(a, float), np.array(b, float)
        p_n, error = largest_beta(a_n, b_n)
        np.testing.assert_allclose(p_n, dense_largest(a_n, b_n), atol=2e-7)
        assert error < QUADRATURE_ERROR

    @settings(max_examples=100, deadline=None)
    @given(*[st.integers(1, 400)] * 4)
    def test_two_beta_in_closed_form(self, a, b, c, d):
        """P(X > Y) of X ~ Beta(a, b), Y ~ Beta(c, d), a finite sum (Miller, 2015)."""
        i = np.arange(a)
        log_n = (
            special.betaln(c + i, b + d)
            - np.log(b + i)
            - special.betaln(1 + i, b)
            - special.betaln(c, d)
        )
        p_n, error = largest_beta(np.array([a, c], float), np.array([b, d], float))
        assert p_n[0] == pytest.approx(np.exp(log_n).sum(), abs=1e-8)
        assert error < QUADRATURE_ERROR

    @settings(max_examples=100, deadline=None)
    @given(st.floats(-3, 3), st.floats(1e-4, 10), st.floats(1e-4, 10))
    def test_two_normal_in_closed_form(self, gap, first, second):
        p_n, error = largest_normal(np.array([gap, 0.0]), np.array([first, second]))
        assert p_n[0] == pytest.approx(stats.norm.cdf(gap / math.hypot(first, second)), abs=1e-7)
        assert error < QUADRATURE_ERROR

    @pytest.mark.parametrize("kind", ["beta", "normal"])
    def test_200_of_them_against_draws(self, kind):
        rng = derive(3, "largest", kind)
        n, draws = 200, 20_000
        count_n = 10 ** rng.uniform(0, 4, n)
        mean_n = rng.beta(2, 30, n)
        if kind == "beta":
            first_n, second_n = 1 + mean_n * count_n, 1 + (1 - mean_n) * count_n
            p_n, _ = largest_beta(first_n, second_n)
            best = rng.beta(first_n, second_n, (draws, n)).argmax(axis=1)
        else:
            second_n = 0.3 / np.sqrt(count_n)
            p_n, _ = largest_normal(mean_n, second_n)
            best = rng.normal(mean_n, second_n, (draws, n)).argmax(axis=1)
        seen_n = np.bincount(best, minlength=n) / draws
        assert np.abs(seen_n - p_n).max() < 5 * np.sqrt(0.25 / draws)
        big = p_n * draws > 5
        chi = ((seen_n - p_n)[big] ** 2 / p_n[big]).sum() * draws
        assert stats.chi2.sf(chi, big.sum()) > 1e-4

    def test_the_surely_best_the_alone_and_the_many_alike(self):
        assert largest_normal(np.array([0.0]), np.array([1.0]))[0].tolist() == [1.0]
        p_n, _ = largest_beta(np.array([9e5, 10.0]), np.array([1e5, 9e5]))
        assert p_n.tolist() == [1.0, 0.0]
        p_n, error = largest_beta(np.full(300, 2.0), np.full(300, 30.0))
        np.testing.assert_allclose(p_n, 1 / 300, rtol=1e-9)
        assert error < QUADRATURE_ERROR

    def test_200_arms_within_2_ms_of_cpu(self):
        rng = derive(5, "largest")
        count_n, mean_n = 10 ** rng.uniform(0, 6, 200), rng.beta(2, 30, 200)
        best = math.inf
        for _ in range(20):
            start = time.thread_time()
            largest_beta(1 + mean_n * count_n, 1 + (1 - mean_n) * count_n)
            best = min(best, time.thread_time() - start)
        assert best < 2e-3


class TestThompson:
    def test_quadrature_is_what_draws_of_the_posterior_do(self):
        """A list by drawing each posterior once and sorting has the same law as slot after slot."""
        counts, sums = [20, 30, 5, 8, 12, 40], [4, 7, 2, 1, 3, 9]
        policy = learned(Thompson(ThompsonConfig(floor=BARE)), counts, sums)
        slate = Slate.plain(np.arange(6))
        chance = np.zeros(6)
        for places, p in lists_of(policy, slate, context_of(), 1).items():
            chance[places[0]] = p
        a, b = 1 + np.array(sums), 1 + np.array(counts) - np.array(sums)
        draws = derive(0, "thompson").beta(a, b, (200_000, 6)).argmax(axis=1)
        seen = np.bincount(draws, minlength=6)
        assert stats.chisquare(seen, chance * 200_000).pvalue > 1e-4

    def test_monte_carlo_is_within_its_error(self):
        slate, feedback = slate_of(12), feedback_of(3_000)
        for posterior in ("beta", "gaussian"):
            exact = Thompson(ThompsonConfig(posterior=posterior, floor=BARE))
            drawn = Thompson(
                ThompsonConfig(
                    posterior=posterior, floor=BARE, probabilities="monte-carlo", draws=20_000
                )
            )
            for policy in (exact, drawn):
                policy.learn(feedback)
            error = drawn.choose(slate, context_of(), 1, derive(0)).error
            assert error == pytest.approx(1.5 / math.sqrt(20_000))
            gap_N = drawn.next_slot(slate, context_of(), []) - exact.next_slot(
                slate, context_of(), []
            )
            assert 0 < np.abs(gap_N).max() < error

    @pytest.mark.parametrize("means", [(1e-4,) * 20, (1e-4, 2e-3, 1e-3)])
    def test_new_items_of_rare_rewards_are_within_the_error_too(self, means):
        """Draws of Beta(2e-4, 2) are all 0 in float64; who comes first must not win them all."""
        slate = Slate.plain(np.arange(len(means)))
        slate.probability["click"] = np.array(means)
        prior = Prior(strength=2, label="click")
        exact, drawn = (
            Thompson(ThompsonConfig(prior=prior, floor=BARE, probabilities=kind))
            for kind in ("quadrature", "monte-carlo")
        )
        gap_N = drawn.next_slot(slate, context_of(), []) - exact.next_slot(slate, context_of(), [])
        assert np.abs(gap_N).max() < drawn.judge(slate, context_of()).error

    def test_the_gaussian_posterior_by_hand(self):
        config = ThompsonConfig(posterior="gaussian", noise=0.3, floor=BARE)
        policy = learned(Thompson(config), [10, 40], [6, 20])
        mean = np.array([(1 + 6) / 12, (1 + 20) / 42])
        sd = 0.3 / np.sqrt([12, 42])
        p_N = policy.next_slot(Slate.plain(np.arange(2)), context_of(), [])
        wanted = stats.norm.cdf((mean[0] - mean[1]) / math.hypot(*sd))
        assert p_N[0] == pytest.approx(wanted, abs=1e-8)


def test_every_policy_is_tried_by_the_suite():
    policies = {
        cls.__name__
        for cls in classes_in("muma.policy")
        if {"next_slot", "choose", "learn"} <= set(dir(cls))
        and not getattr(cls, "__abstractmethods__", None)
        and not getattr(cls, "_is_protocol", False)
    }
    made = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and any(
                isinstance(base, ast.Name) and "Suite" in base.id for base in node.bases
            ):
                made |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    assert {"Thompson", "SoftmaxPolicy", "LinUCB"} <= policies
    lacking = policies - made
    assert not lacking
