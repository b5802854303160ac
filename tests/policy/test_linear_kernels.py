"""Compiled loops against NumPy: ties, infinite and missing values, lists longer than the arms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.policy.kernels import top_index, update_arm
from muma.policy.linear_thompson import _Shares
from muma.rng import derive


def sorted_top(mean_A, width_A, scale, k):
    index_A = mean_A + scale * width_A
    arm_A = np.flatnonzero(~np.isnan(index_A))
    order = arm_A[np.argsort(-index_A[arm_A], kind="stable")][:k]
    return order, index_A[order]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 1500), st.integers(0, 30), st.integers(1, 6), st.floats(0.1, 5),
    st.integers(0, 2**20),
)  # fmt: skip
def test_top_index_is_numpys_stable_sort(n, k, levels, scale, seed):
    rng = derive(seed, "top")
    mean_A = rng.integers(0, levels, n) / levels  # few levels: many ties
    width_A = rng.choice([0.0, 0.25, 1.0, np.inf], n, p=[0.4, 0.4, 0.19, 0.01])
    mean_A[rng.random(n) < 0.05] = np.nan
    found, wanted = top_index(mean_A, width_A, scale, k), sorted_top(mean_A, width_A, scale, k)
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])


def test_top_index_of_many_arms_is_exact():
    rng = derive(1, "many")
    count_A = rng.integers(1, 1000, 300_000).astype(float)
    mean_A = np.floor(rng.random(300_000) * count_A) / count_A
    parts = mean_A, 1 / np.sqrt(count_A), np.sqrt(2 * np.log(1e6)), 20
    np.testing.assert_array_equal(top_index(*parts)[0], sorted_top(*parts)[0])


@pytest.mark.parametrize("order", [1, -1])
def test_top_index_of_sorted_arms(order):
    mean_A = np.arange(5000.0)[::order].copy()
    arm_K, _ = top_index(mean_A, np.zeros(5000), 1.0, 3)
    assert arm_K.tolist() == np.argsort(-mean_A)[:3].tolist()


def test_update_arm_is_a_mean():
    rewards = derive(2, "rewards").random(500)
    arrays = [np.zeros(3) for _ in range(4)]
    for reward in rewards:
        update_arm(*arrays, 2, reward)
    count_A, sum_A, mean_A, width_A = arrays
    assert count_A.tolist() == [0, 0, 500]
    assert sum_A[2] == pytest.approx(rewards.sum(), rel=1e-12)
    assert mean_A[2] == pytest.approx(rewards.mean(), rel=1e-12)
    assert width_A[2] == 1 / np.sqrt(500)


def shares_by_hand(draw_MN, out_N):
    wanted_N = np.zeros(draw_MN.shape[1])
    for row_N in draw_MN:
        left_N = np.where(out_N, -np.inf, row_N)
        best_N = left_N == left_N.max()
        wanted_N += best_N / best_N.sum() / len(draw_MN)
    return wanted_N


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 40), st.sampled_from([3, 10**6]), st.integers(0, 2**20))
def test_best_shares_count_the_largest_whatever_was_asked_before(n, draws, levels, seed):
    rng = derive(seed, "shares")
    draw_MN = rng.integers(0, levels, (draws, n)).astype(float)
    shares = _Shares(draw_MN)
    out_N = np.zeros(n, dtype=bool)
    for step in range(8):
        out_N = out_N.copy()
        out_N[rng.integers(n)] ^= step % 3 != 2 or bool(rng.random() < 0.5)
        if out_N.all():
            out_N[rng.integers(n)] = False
        found_N = shares(out_N)
        np.testing.assert_allclose(found_N, shares_by_hand(draw_MN, out_N), atol=1e-12)
        assert not found_N[out_N].any()
