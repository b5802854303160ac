"""The linear model against the normal equations on features scaled by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.errors import DataError
from muma.policy.linear_statistics import LinearConfig, LinearStatistics
from muma.rng import derive

HOUR = 3_600_000_000


def rows(seed, n=200, width=4, missing=0.15):
    rng = derive(seed, "rows")
    value_EF = (rng.normal(size=(n, width)) * [1, 50, 0.01, 3] + [0, 900, 5, -2]).astype(np.float32)
    value_EF[rng.random((n, width)) < missing] = np.nan
    value_EF[:, 3] = np.nan_to_num(value_EF[:, 3])  # one feature is never missing
    return value_EF, (rng.random(n) < 0.3).astype(float), rng.integers(0, 40 * HOUR, n)


def scaled(value_EF, weight_E, of_NF):
    """Design rows of `of_NF` with means and deviations of `value_EF`, weighted."""
    columns, flags = [np.ones(len(of_NF))], []
    for f in range(value_EF.shape[1]):
        seen_E = ~np.isnan(value_EF[:, f])
        value_E = value_EF[seen_E, f].astype(np.float64)
        mean = np.average(value_E, weights=weight_E[seen_E])
        deviation = np.sqrt(np.average((value_E - mean) ** 2, weights=weight_E[seen_E]))
        columns.append(np.nan_to_num((of_NF[:, f].astype(np.float64) - mean) / deviation))
        if not seen_E.all():
            flags.append(np.isnan(of_NF[:, f]).astype(float))
    return np.column_stack([*columns, *flags])


@pytest.mark.parametrize("half_life_us", [None, 6.0 * HOUR])
def test_equals_the_normal_equations(half_life_us):
    value_EF, reward_E, time_E = rows(1)
    weight_E = np.ones(200)
    if half_life_us is not None:
        weight_E = 0.5 ** ((time_E.max() - time_E) / half_life_us)
    config = LinearConfig(prior_precision=2.5, half_life_us=half_life_us)
    statistics = LinearStatistics(config)
    for start in range(0, 200, 60):
        part = slice(start, start + 60)
        statistics.add(value_EF[part], reward_E[part], time_E[part])
    posterior, other_NF = statistics.posterior(4), rows(2, 30)[0]
    design_ED = scaled(value_EF, weight_E, value_EF)
    precision_DD = design_ED.T @ (weight_E[:, None] * design_ED) + 2.5 * np.eye(design_ED.shape[1])
    theta_D = np.linalg.solve(precision_DD, design_ED.T @ (weight_E * reward_E))
    z_ND = scaled(value_EF, weight_E, other_NF)
    np.testing.assert_allclose(posterior.design(other_NF), z_ND, atol=1e-6)
    mean_N, spread_N = posterior.moments(posterior.design(other_NF))
    np.testing.assert_allclose(mean_N, z_ND @ theta_D, atol=1e-7)
    wanted_N = np.sqrt(np.einsum("nd,dn->n", z_ND, np.linalg.solve(precision_DD, z_ND.T)))
    np.testing.assert_allclose(spread_N, wanted_N, atol=1e-7)
    left = (weight_E * (reward_E - design_ED @ theta_D) ** 2).sum() + 2.5 * (theta_D**2).sum()
    wanted = np.sqrt((0.25 + left) / (1 + weight_E.sum()))
    assert posterior.noise == pytest.approx(wanted, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(6)), st.sampled_from([None, 5.0 * HOUR]))
def test_batches_come_in_any_order(order, half_life_us):
    value_EF, reward_E, time_E = rows(3)
    found = []
    for batches in (range(6), order):
        statistics = LinearStatistics(LinearConfig(half_life_us=half_life_us))
        for batch in batches:
            part = slice(batch * 30, batch * 30 + 30)
            statistics.add(value_EF[part], reward_E[part], time_E[part])
        found.append(statistics.arrays())
    for name, array in found[0].items():
        np.testing.assert_allclose(found[1][name], array, rtol=1e-10, atol=1e-12)


def test_old_rewards_weigh_less_and_are_forgotten():
    statistics = LinearStatistics(LinearConfig(half_life_us=HOUR))
    one = np.zeros((1, 1), np.float32)
    statistics.add(one, np.ones(1), np.array([0]))
    statistics.add(one, np.zeros(1), np.array([HOUR]))
    assert statistics.count == pytest.approx(1.5)
    statistics.add(one, np.ones(1), np.array([0]))  # late: it weighs by its own time
    assert statistics.count == pytest.approx(2.0)
    statistics.add(one, np.ones(1), np.array([2000 * HOUR]))
    assert statistics.count == pytest.approx(1.0)


def test_a_feature_without_spread_is_left_out_and_values_taken_as_they_are():
    value_EF = np.column_stack([np.full(50, 1e12), np.arange(50)]).astype(np.float32)
    statistics = LinearStatistics(LinearConfig())
    statistics.add(value_EF, np.ones(50), np.zeros(50, np.int64))
    assert statistics.posterior(2).used_F.tolist() == [False, True]
    plain = LinearStatistics(LinearConfig(scaling="none"))
    plain.add(value_EF[:, 1:], np.ones(50), np.zeros(50, np.int64))
    posterior = plain.posterior(1)
    np.testing.assert_array_equal(posterior.design(np.array([[7.0]])), [[1.0, 7.0]])


def test_without_data_all_candidates_are_alike():
    posterior = LinearStatistics(LinearConfig(prior_precision=4.0)).posterior(3)
    mean_N, spread_N = posterior.moments(posterior.design(derive(1, "x").normal(size=(5, 3))))
    assert mean_N.tolist() == [0] * 5
    assert spread_N.tolist() == [0.5] * 5
    assert posterior.noise == 0.5


def test_collinear_features_and_a_weak_prior_have_an_answer():
    x_E = derive(1, "line").normal(size=400)
    value_EF = np.column_stack([x_E, 2 * x_E, -x_E]).astype(np.float64)
    statistics = LinearStatistics(LinearConfig(prior_precision=1e-12))
    statistics.add(value_EF, 0.5 + 0.1 * x_E, np.zeros(400, np.int64))
    posterior = statistics.posterior(3)
    mean_N, _ = posterior.moments(posterior.design(value_EF[:20]))
    np.testing.assert_allclose(mean_N, 0.5 + 0.1 * x_E[:20], atol=1e-6)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.zeros((2, 3)), r"must be \[rows, 2\]"),
        (np.zeros(2), "shape"),
        (np.full((2, 2), np.inf), "infinite"),
    ],
)
def test_wrong_features_are_refused_and_nothing_is_learned(value, told):
    statistics = LinearStatistics(LinearConfig())
    statistics.add(np.zeros((1, 2)), np.ones(1), np.zeros(1, np.int64))
    with pytest.raises(DataError, match=told):
        statistics.add(value, np.ones(len(value)), np.zeros(len(value), np.int64))
    with pytest.raises(DataError, match=told):
        statistics.posterior(2).design(value)
    assert statistics.count == 1
    statistics.add(np.zeros((0, 2)), np.zeros(0), np.zeros(0, np.int64))
    assert statistics.count == 1
