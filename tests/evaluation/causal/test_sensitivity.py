"""E-values against published examples; Rosenbaum's bounds against exact enumeration."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from muma.errors import DataError
from muma.evaluation.causal.sensitivity import (
    e_value,
    e_value_of_means,
    e_value_of_risks,
    rosenbaum_gamma,
    rosenbaum_p,
)
from muma.rng import derive


def test_the_papers_example():
    # VanderWeele and Ding 2017: risk ratio 3.9, interval from 1.8; and the protective 0.80 (0.71, 0.91)
    assert e_value(3.9) == pytest.approx(7.26, abs=0.005)
    assert e_value(1.8) == pytest.approx(3.0, abs=0.005)
    assert e_value(0.80) == pytest.approx(1.81, abs=0.005)
    assert e_value(0.91) == pytest.approx(1.43, abs=0.005)
    assert np.isnan([e_value(0.0), e_value(-1.0), e_value(float("nan"))]).all()


@given(st.floats(1.0, 50.0))
def test_a_cause_of_that_strength_explains_it_away_and_no_weaker(ratio):
    strength = e_value(ratio)
    bias = strength * strength / (2 * strength - 1)  # the bounding factor at equal strengths
    assert bias == pytest.approx(ratio)


def test_means_and_risks():
    found = e_value_of_means(0.5, 0.1, 0.9, spread=1.0)
    assert found.risk_ratio == pytest.approx(np.exp(0.455))
    assert found.limit == pytest.approx(e_value(np.exp(0.091)))
    mirrored = e_value_of_means(-0.5, -0.9, -0.1, spread=1.0)
    assert (mirrored.point, mirrored.limit) == pytest.approx((found.point, found.limit))
    assert e_value_of_means(0.5, -0.1, 1.1, spread=1.0).limit == 1
    assert np.isnan(e_value_of_means(0.5, float("nan"), 1.0, spread=1.0).limit)
    assert np.isnan(e_value_of_means(0.5, 0.1, 0.9, spread=0.0).point)
    risks = e_value_of_risks(0.3, 0.1, 0.1, 0.3)
    assert (risks.point, risks.limit) == pytest.approx((e_value(3.0), e_value(2.0)))
    lower = e_value_of_risks(0.1, 0.3, -0.3, -0.1)
    assert (lower.point, lower.limit) == pytest.approx(
        (e_value(1 / 3), e_value(2 / 3)), nan_ok=True
    )
    assert np.isnan(e_value_of_risks(0.3, 0.0, 0.1, 0.5).point)


def exact_bound(difference, gamma):
    """P(sum of positive ranks >= the observed) when each pair is positive with chance G / (1 + G)."""
    ranks = np.argsort(np.argsort(np.abs(difference))) + 1
    observed = max(ranks[difference > 0].sum(), ranks[difference < 0].sum())
    chance, total = gamma / (1 + gamma), 0.0
    for signs in product((0, 1), repeat=len(difference)):
        if np.dot(signs, ranks) >= observed:
            total += chance ** sum(signs) * (1 - chance) ** (len(signs) - sum(signs))
    return total


@pytest.mark.parametrize("gamma", [1.0, 1.5, 2.0, 3.0])
def test_the_normal_bound_is_near_the_exact_one(gamma):
    difference = derive(3, "pairs").normal(0.7, 1.0, 14)
    assert rosenbaum_p(difference, gamma) == pytest.approx(exact_bound(difference, gamma), abs=0.02)


def test_without_hidden_bias_it_is_wilcoxons():
    difference = derive(4, "pairs").normal(0.3, 1.0, 200)
    want = wilcoxon(difference, alternative="greater", correction=False, method="approx").pvalue
    assert rosenbaum_p(difference, 1.0) == pytest.approx(want)
    assert rosenbaum_p(-difference, 1.0) == pytest.approx(want)


def test_ranks_that_speak_against_the_mean_are_no_finding():
    few_large_gains = np.concatenate([-np.arange(1, 81) / 80, 100 + np.arange(20.0)])
    assert few_large_gains.mean() > 0
    for difference in (few_large_gains, -few_large_gains):
        assert rosenbaum_p(difference, 1.0) > 0.99
        assert rosenbaum_gamma(difference) == 1.0


def test_gamma_is_where_the_bound_crosses():
    difference = derive(5, "pairs").normal(0.8, 1.0, 100)
    gamma = rosenbaum_gamma(difference)
    assert gamma > 2
    assert rosenbaum_p(difference, gamma) == pytest.approx(0.025, abs=1e-6)
    assert rosenbaum_gamma(derive(6, "pairs").normal(0.0, 1.0, 50)) == 1.0
    assert rosenbaum_gamma(np.arange(1.0, 5000.0)) < 1e4


def test_refused():
    with pytest.raises(DataError, match="1 \\(no hidden bias\\)"):
        rosenbaum_p(np.ones(3), 0.5)
    with pytest.raises(DataError, match="every pair is equal"):
        rosenbaum_gamma(np.zeros(3))
