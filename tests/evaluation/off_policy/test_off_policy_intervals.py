"""Intervals against closed forms and brute force; on worlds of known value they cover."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binom, t

from muma.config import parse
from muma.errors import ConfigError, DataError
from muma.evaluation.off_policy.asymptotic import Asymptotic, AsymptoticConfig
from muma.evaluation.off_policy.bernstein import Bernstein, BernsteinConfig, term_range
from muma.evaluation.off_policy.bootstrap import Bootstrap, BootstrapConfig
from muma.evaluation.off_policy.cascade_dr import CascadeDR
from muma.evaluation.off_policy.cascade_model import cross_fit_to_end
from muma.evaluation.off_policy.clipped_ips import ClippedIPS, ClippedIPSConfig
from muma.evaluation.off_policy.direct_method import DirectMethod
from muma.evaluation.off_policy.doubly_robust import DoublyRobust
from muma.evaluation.off_policy.estimator import Terms, view
from muma.evaluation.off_policy.evaluate import PER_ROUND
from muma.evaluation.off_policy.hall import Hall
from muma.evaluation.off_policy.ips import IPS
from muma.evaluation.off_policy.logistic_reward import LogisticReward, LogisticRewardConfig
from muma.evaluation.off_policy.reward_model import cross_fit
from muma.evaluation.off_policy.ridge_reward import RidgeReward
from muma.evaluation.off_policy.snips import SNIPS
from muma.evaluation.off_policy.tuning import choose, weight_grid
from muma.evaluation.off_policy.units import errors, ratio_sums, units_of
from muma.rng import derive
from muma.testing.bandit_world import BanditWorld
from muma.testing.slate_world import SlateWorld

ALL = (Asymptotic(), Hall(), Bootstrap(BootstrapConfig(n_resamples=200)))


def terms_of(seed, n=200, *, ratio=False):
    rng = derive(seed, "terms")
    return Terms(rng.normal(1, 2, n), denominator_B=rng.uniform(0.1, 2, n) if ratio else None)


def test_a_plain_mean_has_the_textbook_interval():
    terms = terms_of(1)
    low, high = Asymptotic().bounds({"a": terms}, units_of(None, 200))["a"]
    half = t.ppf(0.975, 199) * terms.numerator_B.std(ddof=1) / math.sqrt(200)
    assert low == pytest.approx(terms.value - half, abs=1e-12)
    assert high == pytest.approx(terms.value + half, abs=1e-12)


@given(seed=st.integers(0, 10**6), shape=st.floats(0.05, 5))
@settings(max_examples=25, deadline=None)
def test_halls_ends_are_the_roots_of_his_cubic(seed, shape):
    value_B = derive(seed, "skewed").gamma(shape, size=60)
    terms, spread = Terms(value_B), value_B.std(ddof=1)
    bend = ((value_B - value_B.mean()) ** 3).mean() / spread**3 / math.sqrt(60)

    def cubic(truth):
        z = (terms.value - truth) / (spread / math.sqrt(60))
        return z + bend * z**2 / 3 + bend**2 * z**3 / 27 + bend / 6

    quantile = t.ppf(0.975, 59)
    ends = Hall().bounds({"a": terms}, units_of(None, 60))["a"]
    far = 1000 * spread
    for end, at in zip(ends, (quantile, -quantile), strict=True):
        root = brentq(lambda x, at=at: cubic(x) - at, terms.value - far, terms.value + far)
        assert end == pytest.approx(root, abs=1e-6 * spread)


def test_hall_evens_the_tails_of_a_skewed_mean():
    n, repetitions = 80, 3000
    missed = {"asymptotic": [0, 0], "Hall": [0, 0]}
    for value_B in derive(5, "lognormal").lognormal(0, 1, (repetitions, n)):
        for interval in (Asymptotic(), Hall()):
            low, high = interval.bounds({"a": Terms(value_B)}, units_of(None, n))["a"]
            missed[interval.name][0] += math.exp(0.5) > high
            missed[interval.name][1] += math.exp(0.5) < low
    assert missed["asymptotic"][0] > 10 * missed["asymptotic"][1]
    assert missed["Hall"][0] < 3 * missed["Hall"][1]
    assert sum(missed["Hall"]) < sum(missed["asymptotic"])


def test_hall_is_the_symmetric_interval_where_nothing_is_skewed():
    terms, units = Terms(np.array([-1.0, 0.0, 1.0] * 20)), units_of(None, 60)
    plain = Asymptotic().bounds({"a": terms}, units)["a"]
    assert Hall().bounds({"a": terms}, units)["a"] == pytest.approx(plain, abs=1e-9)
    still = {"a": Terms(np.full(5, 0.3))}
    assert Hall().bounds(still, units_of(None, 5))["a"] == pytest.approx((0.3, 0.3), abs=1e-12)
    assert all(math.isnan(end) for end in Hall().bounds(still, units_of(None, 1))["a"])


@pytest.mark.parametrize("ratio", [False, True])
def test_errors_of_units_are_those_of_a_loop(ratio):
    terms = terms_of(2, ratio=ratio)
    unit_B = derive(2, "units").integers(0, 30, 200)
    units = units_of(unit_B, 200)
    expected = []
    for unit in np.unique(unit_B):
        inside = unit_B == unit
        d = terms.denominator_B[inside].sum() if ratio else inside.sum()
        expected.append((terms.numerator_B[inside].sum(), d))
    n_U, d_U = np.array(expected, dtype=float).T
    value = n_U.sum() / d_U.sum()
    assert terms.value == pytest.approx(value, abs=1e-12)
    np.testing.assert_allclose(errors(terms, units), (n_U - value * d_U) / d_U.mean(), atol=1e-12)
    np.testing.assert_allclose(np.column_stack(ratio_sums(terms, units)), expected, atol=1e-12)


@given(seed=st.integers(0, 10**6), ratio=st.booleans())
@settings(max_examples=15, deadline=None)
def test_copies_of_a_user_make_no_interval_tighter(seed, ratio):
    once = terms_of(seed, 60, ratio=ratio)
    place_B = np.repeat(np.arange(60), 3)
    thrice = Terms(
        once.numerator_B[place_B],
        denominator_B=None if once.denominator_B is None else once.denominator_B[place_B],
    )
    for interval in ALL:
        plain = interval.bounds({"a": once}, units_of(None, 60))["a"]
        copied = interval.bounds({"a": thrice}, units_of(place_B, 180))["a"]
        np.testing.assert_allclose(copied, plain, atol=1e-9)


def test_ratios_bootstrap_like_a_loop_over_resamples():
    terms, units = terms_of(4, 40, ratio=True), units_of(None, 40)
    low, high = Bootstrap(BootstrapConfig(n_resamples=4000)).bounds({"a": terms}, units)["a"]
    rng = derive(9, "own")
    values = []
    for _ in range(4000):
        drawn = rng.integers(0, 40, 40)
        values.append(terms.numerator_B[drawn].sum() / terms.denominator_B[drawn].sum())
    expected = np.quantile(values, [0.025, 0.975])
    np.testing.assert_allclose([low, high], expected, atol=0.08 * (expected[1] - expected[0]))


def test_estimators_share_resamples():
    one = terms_of(5)
    shifted = Terms(one.numerator_B + 3)
    found = Bootstrap().bounds({"a": one, "b": shifted}, units_of(None, 200))
    np.testing.assert_allclose(np.array(found["b"]) - found["a"], 3, atol=1e-12)
    again = Bootstrap(BootstrapConfig(seed=1)).bounds({"a": one}, units_of(None, 200))
    assert again["a"] != found["a"]


def test_where_nothing_overlaps_a_ratio_has_no_interval():
    terms = Terms(np.zeros(50), denominator_B=np.zeros(50))
    for interval in ALL:
        assert np.isnan(interval.bounds({"a": terms}, units_of(None, 50))["a"]).all()


def bernstein_loop(value_U, width, level):
    n = len(value_U)
    mean = sum(value_U) / n
    variance = sum((x - y) ** 2 for x in value_U for y in value_U) / (2 * n * (n - 1))
    log = math.log(2 / ((1 - level) / 2))
    half = math.sqrt(2 * variance * log / n) + 7 * width * log / (3 * (n - 1))
    return mean - half, mean + half


def test_bernstein_is_the_papers_formula():
    rng = derive(6, "bernstein")
    terms = Terms(4 * rng.random(80))
    interval = Bernstein(BernsteinConfig(weight_bound=4.0, level=0.9))
    found = interval.bounds({"a": terms}, units_of(None, 80))["a"]
    np.testing.assert_allclose(found, bernstein_loop(terms.numerator_B, 4.0, 0.9), atol=1e-12)
    unit_B = np.repeat(np.arange(20), 4)
    found = interval.bounds({"a": terms}, units_of(unit_B, 80))["a"]
    means_U = terms.numerator_B.reshape(20, 4).mean(axis=1)
    np.testing.assert_allclose(found, bernstein_loop(means_U, 4.0, 0.9), atol=1e-12)


def test_bounds_of_terms_are_stated_and_kept():
    config = BernsteinConfig(weight_bound=10.0, reward_range=(-1.0, 3.0))
    logged, target_BA, _ = BanditWorld().log(300, derive(7, "range"))
    q_BA = np.full(target_BA.shape, 0.3)
    rounds = view(logged, target_BA, prediction_BA=q_BA)
    clipped = ClippedIPS(ClippedIPSConfig(clip=2.0))
    expected = {IPS: (-10, 30), DoublyRobust: (-41, 43), DirectMethod: (-1, 3)}
    for kind, limits in expected.items():
        assert term_range(kind().terms(rounds), config) == limits
    assert term_range(clipped.terms(rounds), config) == (-2, 6)
    # a ratio, a baseline and settings chosen on the log have none
    for estimator in (e for e in PER_ROUND if e.name not in {"IPS", "DR", "DM"}):
        assert term_range(estimator.terms(rounds), config) is None
        found = Bernstein(config).bounds({"a": estimator.terms(rounds)}, units_of(None, 300))
        assert np.isnan(found["a"]).all()


def test_rewards_or_weights_outside_the_stated_bounds_are_refused():
    logged, target_BA, _ = BanditWorld().log(300, derive(8, "outside"))
    terms = {"IPS": IPS().terms(view(logged, target_BA))}
    with pytest.raises(DataError, match=r"IPS: terms go from .* outside .*state bounds that hold"):
        Bernstein(BernsteinConfig(weight_bound=1.0)).bounds(terms, units_of(None, 300))
    big = IPS().terms(view(replace(logged, reward_B=100 * logged.reward_B), target_BA))
    with pytest.raises(DataError, match="rewards in"):
        Bernstein(BernsteinConfig(weight_bound=50.0)).bounds({"IPS": big}, units_of(None, 300))
    with pytest.raises(ConfigError, match="reward_range"):
        parse(BernsteinConfig, {"weight_bound": 1.0, "reward_range": (1.0, 0.0)})
    with pytest.raises(ConfigError, match="level"):
        parse(AsymptoticConfig, {"level": 1.0})


def test_bernstein_covers_at_sizes_where_the_normal_interval_does_not():
    rng = derive(10, "small")
    hits = {"asymptotic": 0, "empirical Bernstein": 0}
    for _ in range(300):
        terms = Terms(10.0 * (rng.random(40) < 0.02))  # mean 0.2, mostly all zero
        for interval in (Asymptotic(), Bernstein(BernsteinConfig(weight_bound=10.0))):
            low, high = interval.bounds({"a": terms}, units_of(None, 40))["a"]
            hits[interval.name] += low <= 0.2 <= high
    assert hits["empirical Bernstein"] >= 285
    assert hits["asymptotic"] < 200


def test_the_setting_with_least_estimated_error_is_chosen():
    logged, target_BA, _ = BanditWorld().log(4000, derive(11, "tuning"))
    rounds = view(logged, target_BA)
    grid = weight_grid(rounds.weight_B)
    assert grid[0] == math.inf
    assert grid == sorted(grid, reverse=True)
    chosen = ClippedIPS().terms(rounds)
    assert chosen.chosen
    assert chosen.parameter in grid

    def loop(clip):
        value_B = np.minimum(rounds.weight_B, clip) * logged.reward_B
        first_B = rounds.weight_B * logged.reward_B
        n = len(value_B)
        noise = np.var(value_B - first_B) / n
        bias = value_B.mean() - first_B.mean()
        return max(bias**2 - noise, 0) + np.var(value_B) / n

    assert loop(chosen.parameter) == pytest.approx(min(loop(clip) for clip in grid), rel=1e-9)


def test_a_bias_that_shows_is_not_chosen():
    rng = derive(12, "bias")
    noise_B = rng.normal(size=5000)
    # setting 1 halves the spread, but is half a unit off; setting 2 is noise-free and right
    table = {0.0: noise_B, 1.0: noise_B / 2 + 0.5, 2.0: np.zeros(5000) + noise_B.mean()}
    logged = BanditWorld().log(5000, rng)[0]
    assert choose([0.0, 1.0], lambda s: Terms(table[s], parameter=s), logged).parameter == 0.0
    assert choose([0.0, 1.0, 2.0], lambda s: Terms(table[s], parameter=s), logged).parameter == 2.0


def coverage(make, repetitions):
    hits = {}
    for repetition in range(repetitions):
        terms, units, value, intervals = make(repetition)
        for interval in intervals:
            for name, (low, high) in interval.bounds(terms, units).items():
                key = name, interval.name
                hits[key] = hits.get(key, 0) + (low <= value <= high)
    return hits


def bandit(world, n, *, model):
    def make(repetition):
        logged, target_BA, _ = world.log(n, derive(repetition, "cover"))
        q_BA = cross_fit(model, logged, seed=repetition) if model else None
        rounds = view(logged, target_BA, prediction_BA=q_BA)
        asked = [e for e in PER_ROUND if e.consistent and (model or not e.needs_model)]
        intervals = (Asymptotic(), Bootstrap(BootstrapConfig(n_resamples=400, seed=repetition)))
        units = units_of(logged.units_B, n)
        return {e.name: e.terms(rounds) for e in asked}, units, world.value, intervals

    return make


def answers(repetition):
    world = SlateWorld()
    logged, target_BA = world.log(400, derive(repetition, "cover"))
    q_BA = cross_fit_to_end(RidgeReward(), logged, target_BA, seed=repetition)
    terms = CascadeDR().terms(view(logged, target_BA, prediction_BA=q_BA))
    return {"cascade": terms}, units_of(logged.units_B, 1200), world.value, (Asymptotic(),)


def holds(hits, repetitions):
    """True coverage in 93 to 97 % is not refuted at one in ten thousand."""
    least = binom.ppf(1e-4, repetitions, 0.93)
    most = binom.ppf(1 - 1e-4, repetitions, 0.97)
    for key, count in hits.items():
        assert least <= count <= most, (key, count / repetitions)


def test_intervals_cover_a_known_value():
    holds(coverage(bandit(BanditWorld(), 800, model=None), 100), 100)


@pytest.mark.slow
def test_every_interval_that_promises_to_cover_does():
    right = LogisticReward(LogisticRewardConfig(interaction=True))
    for world in (BanditWorld(), BanditWorld(per_unit=4)):
        holds(coverage(bandit(world, 2000, model=right), 200), 200)
    holds(coverage(answers, 200), 200)


def test_intervals_that_ignore_users_are_too_short():
    world = BanditWorld(per_unit=20, n_features=1)
    hits = {"by user": 0, "naive": 0}
    for repetition in range(150):
        logged, target_BA, _ = world.log(2000, derive(repetition, "naive"))
        terms = {"SNIPS": SNIPS().terms(view(logged, target_BA))}
        for name, units in (
            ("by user", units_of(logged.unit_B, 2000)),
            ("naive", units_of(None, 2000)),
        ):
            low, high = Asymptotic().bounds(terms, units)["SNIPS"]
            hits[name] += low <= world.value <= high
    assert hits["by user"] >= 132
    assert hits["naive"] < 115
