"""Gains by group: against brute force, on worlds of known truth, and where nothing can be decided."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, kstest, norm

from muma.errors import DataError
from muma.evaluation.multiplicity import benjamini_hochberg
from muma.evaluation.off_policy.direct_method import DirectMethod
from muma.evaluation.off_policy.doubly_robust import DoublyRobust
from muma.evaluation.off_policy.groups import MISSING, GroupsConfig, gain_by_group
from muma.evaluation.off_policy.ips import IPS
from muma.evaluation.off_policy.logged import Logged
from muma.evaluation.off_policy.logistic_reward import LogisticReward
from muma.evaluation.off_policy.reward_model import cross_fit
from muma.evaluation.off_policy.snips import SNIPS
from muma.rng import derive

EFFECT = {"young": 0.2, "middle": 0.0, "old": -0.2}
TARGET_A = np.array([0.1, 0.1, 0.8])


def world(n, rng, effect=EFFECT, units=None):
    """Action 2 adds the group's effect; logged uniformly; true gain: (.8 - 1/3) x effect."""
    names = np.array([*effect])
    unit_B = np.arange(n) if units is None else rng.integers(0, units, n)
    group_B = names[(unit_B * 7919) % len(names)]  # a unit is of one group
    action_B = rng.integers(0, 3, n)
    add_B = np.array([effect[g] for g in group_B])
    reward_B = (rng.random(n) < 0.4 + add_B * (action_B == 2)).astype(float)
    context_BF = (group_B[:, None] == names[None, :]).astype(np.float32)
    log = Logged(
        action_B, reward_B, np.full(n, 1 / 3), 3,
        unit_B=None if units is None else unit_B, context_BF=context_BF,
    )  # fmt: skip
    return log, group_B, np.tile(TARGET_A, (n, 1))


@given(st.lists(st.floats(0, 1) | st.just(float("nan")), max_size=12))
def test_benjamini_hochberg_equals_scipy(p):
    p_M = np.array(p)
    found = benjamini_hochberg(p_M)
    known = ~np.isnan(p_M)
    assert np.array_equal(np.isnan(found), ~known)
    if known.any():
        assert np.allclose(found[known], false_discovery_control(p_M[known]), atol=1e-12)


def test_gains_equal_a_plain_loop():
    log, group_B, target_BA = world(900, derive(1, "loop"), units=150)
    found = gain_by_group(log, target_BA, {"age": group_B}, estimator=IPS())
    for row in found.rows:
        mine = [b for b in range(900) if group_B[b] == row.group]
        sums = {}
        total = 0.0
        for b in mine:
            gain = (target_BA[b, log.action_B[b]] / log.propensity_B[b] - 1) * log.reward_B[b]
            total += gain
            sums.setdefault(log.unit_B[b], []).append(gain)
        value = total / len(mine)
        u = len(sums)
        squares = sum(sum(g - value for g in gains) ** 2 for gains in sums.values())
        error = np.sqrt(squares * u / (u - 1)) / len(mine)
        assert row.gain.value == pytest.approx(value, abs=1e-12)
        assert row.rounds == len(mine)
        assert row.gain.n == u
        half = (row.gain.high - row.gain.low) / 2
        assert half / error == pytest.approx(1.96, abs=0.06)
        assert row.logging == pytest.approx(np.mean(log.reward_B[mine]))


@pytest.mark.parametrize("estimator", [IPS(), SNIPS(), DoublyRobust()])
def test_helped_and_hurt_groups_are_found(estimator):
    log, group_B, target_BA = world(9000, derive(2, "truth"))
    model_BA = cross_fit(LogisticReward(), log, seed=1)
    found = gain_by_group(
        log, target_BA, {"age": group_B}, estimator=estimator, prediction_BA=model_BA
    )
    effects = {row.group: row.effect for row in found.rows}
    assert effects == {"young": "helps", "middle": "not separable", "old": "hurts"}
    for row in found.rows:
        assert row.p <= row.p_bh + 1e-12 <= row.p_holm + 2e-12
    assert found.heterogeneity["age"] < 1e-6
    assert found.overall.low < 0 < found.overall.high


def test_intervals_of_groups_cover_their_true_gains():
    covered = 0
    for seed in range(100):
        log, group_B, target_BA = world(1500, derive(seed, "cover"), units=400)
        found = gain_by_group(log, target_BA, {"age": group_B}, estimator=SNIPS())
        for row in found.rows:
            covered += row.gain.low < (0.8 - 1 / 3) * EFFECT[row.group] < row.gain.high
    assert 270 <= covered <= 297  # binomial(300, .95) is outside with chance .001


def test_correction_bounds_false_words_where_nothing_differs():
    """150 null worlds of ten groups: raw p-values cry wolf in about 40 %, Holm's in 5 %."""
    effect = {f"g{n}": 0.0 for n in range(10)}
    raw, told, rates = 0, 0, []
    for seed in range(150):
        log, group_B, target_BA = world(3000, derive(seed, "null"), effect)
        found = gain_by_group(log, target_BA, {"g": group_B}, estimator=SNIPS())
        raw += any(row.p < 0.05 for row in found.rows)
        told += any(row.effect in {"helps", "hurts"} for row in found.rows)
        rates.append(found.heterogeneity["g"])
    assert raw > 40
    assert told <= 16  # binomial(150, .05) exceeds 16 with chance .002
    assert kstest(rates, "uniform").pvalue > 0.001


def test_heterogeneity_of_two_groups_is_their_difference():
    log, group_B, target_BA = world(2000, derive(3, "two"), {"a": 0.1, "b": 0.0})
    found = gain_by_group(log, target_BA, {"g": group_B}, estimator=IPS())
    a, b = (row.gain for row in found.rows)
    errors = [
        abs(norm.isf(row.p / 2) ** -1 * row.gain.value) for row in found.rows
    ]  # t with 1,000 units is nearly normal
    z = (a.value - b.value) / np.hypot(*errors)
    assert found.heterogeneity["g"] == pytest.approx(2 * norm.sf(abs(z)), rel=0.03)


def test_units_in_several_groups_are_not_counted_twice():
    """Every unit has one good round in each of two groups: gains move together, differences do not."""
    rng = derive(4, "shared")
    hits, alike = 0, {"a": 0.0, "b": 0.0}
    for _ in range(120):
        unit_B = np.repeat(np.arange(250), 2)
        luck_U = rng.integers(0, 3, 250)
        reward_U = (rng.random(250) < 0.4).astype(float)
        log = Logged(luck_U[unit_B], reward_U[unit_B], np.full(500, 1 / 3), 3, unit_B=unit_B)
        group_B = np.array([*alike] * 250)
        noise_B = rng.random(500) < 0.1  # else the groups would be the same rounds
        log.reward_B[noise_B] = 1 - log.reward_B[noise_B]
        found = gain_by_group(log, np.tile(TARGET_A, (500, 1)), {"g": group_B}, estimator=IPS())
        hits += found.heterogeneity["g"] < 0.05
    # binomial(120, .05) is outside with chance .004; counted as independent, groups would never differ
    assert 1 <= hits <= 14


def test_small_groups_are_undecidable_and_count_as_no_test():
    log, group_B, target_BA = world(3000, derive(5, "small"), {"a": 0.2, "b": 0.0})
    group_B = group_B.astype(object)
    group_B[:40] = "tiny"
    group_B[40:50] = None
    found = gain_by_group(log, target_BA, {"g": group_B}, estimator=SNIPS())
    rows = {row.group: row for row in found.rows}
    assert rows["tiny"].effect == rows[MISSING].effect == "undecidable"
    assert "weigh as much as" in rows["tiny"].reasons[0]
    assert "it has 10 units; 30 are needed" in rows[MISSING].reasons
    assert np.isnan(rows["tiny"].p_holm)
    assert rows["b"].p_holm <= min(1.0, 2 * rows["b"].p) + 1e-12  # two tests, not four
    assert rows["a"].effect == "helps"
    shown = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert shown["groups"][0]["group"] == MISSING
    assert shown["groups"][0]["p"] is None


def test_rare_rewards_are_undecidable():
    """Four clicks in a thousand slots decide nothing, however many slots there are."""
    log, group_B, target_BA = world(2000, derive(6, "rare"), {"a": 0.0, "b": 0.0})
    log.reward_B[:] = 0
    log.reward_B[:8] = 1
    found = gain_by_group(log, target_BA, {"g": group_B}, estimator=IPS())
    assert {row.effect for row in found.rows} == {"undecidable"}
    assert "rewarded rounds" in found.rows[0].reasons[0]
    assert np.isnan(found.heterogeneity["g"])


def test_the_logging_policy_itself_cannot_differ():
    log, group_B, _ = world(2000, derive(7, "same"), {"a": 0.0, "b": 0.0})
    found = gain_by_group(log, np.full((2000, 3), 1 / 3), {"g": group_B}, estimator=IPS())
    assert {row.gain.value for row in found.rows} == {0.0}
    assert "no spread" in found.rows[0].reasons[0]


def test_nan_and_empty_labels_are_one_group():
    log, _, target_BA = world(600, derive(8, "nan"))
    number_B = np.where(np.arange(600) % 2, 1.0, np.nan)
    found = gain_by_group(log, target_BA, {"n": number_B}, estimator=IPS())
    assert [row.group for row in found.rows] == [MISSING, "1.0"]


def test_benjamini_hochberg_tells_at_least_what_holm_tells():
    log, group_B, target_BA = world(
        6000, derive(9, "bh"), {f"g{n}": 0.05 * (n % 3) for n in range(9)}
    )
    words = {}
    for correction in ("holm", "benjamini_hochberg"):
        config = GroupsConfig(correction=correction)
        found = gain_by_group(log, target_BA, {"g": group_B}, estimator=SNIPS(), config=config)
        words[correction] = {row.group for row in found.rows if row.effect == "helps"}
    assert words["holm"] < words["benjamini_hochberg"]


@pytest.mark.parametrize(
    ("groups", "estimator", "message"),
    [
        ({"g": np.zeros(3)}, IPS(), "for 60 rounds"),
        ({"g": np.arange(60)}, IPS(), "60 groups; at most 50"),
        ({"g": np.zeros(60)}, DirectMethod(), "needs predicted rewards"),
    ],
)
def test_mistakes_are_told(groups, estimator, message):
    log, _, target_BA = world(60, derive(10, "mistake"))
    with pytest.raises(DataError, match=message):
        gain_by_group(log, target_BA, groups, estimator=estimator)
