"""Logistic regression against scikit-learn, statsmodels' pinned figures and its own first-order condition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from muma.errors import DataError
from muma.evaluation.causal.logistic import fit_logistic
from muma.rng import derive


def drawn(seed, n=400, p=3):
    rng = derive(seed, "logistic")
    x = rng.normal(size=(n, p)) * [1, 10, 1000][:p] + [0, 50, -3000][:p]
    eta = (x - x.mean(0)) / x.std(0) @ [1.0, -0.5, 0.3][:p] - 0.4
    return x, (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(float)


def test_equals_scikit_learn():
    x, y = drawn(1)
    fit = fit_logistic(x, y)
    scaled = (x - fit.centre_P) / fit.spread_P
    peer = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(scaled, y)
    np.testing.assert_allclose(fit.scaled_Q, [*peer.intercept_, *peer.coef_[0]], atol=1e-6)
    np.testing.assert_allclose(fit.predict(x), peer.predict_proba(scaled)[:, 1], atol=1e-7)


def test_the_penalty_is_scikit_learns():
    x, y = drawn(2)
    fit = fit_logistic(x, y, l2=5.0)
    scaled = (x - fit.centre_P) / fit.spread_P
    peer = LogisticRegression(C=1 / 5.0, tol=1e-12, max_iter=10_000).fit(scaled, y)
    np.testing.assert_allclose(fit.scaled_Q, [*peer.intercept_, *peer.coef_[0]], atol=1e-6)


def test_weights_are_repeated_rows():
    x, y = drawn(3, n=120)
    times = derive(3, "times").integers(0, 4, len(y))
    weighted = fit_logistic(x, y, weight_N=times.astype(float))
    repeated = fit_logistic(np.repeat(x, times, axis=0), np.repeat(y, times))
    np.testing.assert_allclose(weighted.coefficient_Q, repeated.coefficient_Q, rtol=1e-6)
    np.testing.assert_allclose(
        weighted.coefficient_error_Q, repeated.coefficient_error_Q, rtol=1e-6
    )
    assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood)


def test_two_groups_have_a_closed_form():
    x = np.array([0.0] * 10 + [1.0] * 10)[:, None]
    y = np.array([1] * 2 + [0] * 8 + [1] * 7 + [0] * 3)
    fit = fit_logistic(x, y)
    np.testing.assert_allclose(fit.coefficient_Q, [np.log(2 / 8), np.log(7 / 3) - np.log(2 / 8)])
    error = np.sqrt([1 / 2 + 1 / 8, 1 / 2 + 1 / 8 + 1 / 7 + 1 / 3])
    np.testing.assert_allclose(fit.coefficient_error_Q, error)


@given(st.integers(0, 10_000))
@settings(max_examples=30)
def test_the_slope_is_zero_and_units_do_not_matter(seed):
    x, y = drawn(seed, n=150)
    if y.min() == y.max():
        return
    try:
        fit = fit_logistic(x, y)
    except DataError:
        return
    rest = y - fit.predict(x)
    assert np.abs(fit.design(x).T @ rest).max() < 1e-4
    other = fit_logistic(x * [2.0, 0.001, -1] + 7, y)
    np.testing.assert_allclose(other.predict(x * [2.0, 0.001, -1] + 7), fit.predict(x), atol=1e-6)


def test_complete_separation_is_said():
    x = np.arange(20.0)[:, None]
    with pytest.raises(DataError, match=r"no overlap|does not settle"):
        fit_logistic(x, x[:, 0] > 9)
    fit = fit_logistic(x, x[:, 0] > 9, l2=1.0)
    assert np.isfinite(fit.coefficient_Q).all()


def test_an_extreme_start_is_no_trap():
    x, y = drawn(5)
    cold, hot = fit_logistic(x, y), fit_logistic(x, y, start_Q=np.array([30.0, -30, 30, 30]))
    np.testing.assert_allclose(hot.predict(x), cold.predict(x), atol=1e-6)
