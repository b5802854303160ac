"""Balance and overlap against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muma.evaluation.causal.balance import balance, balance_terms, largest_difference, scales
from muma.evaluation.causal.logistic import fit_logistic
from muma.evaluation.causal.overlap import overlap
from muma.evaluation.causal.study import study_of
from muma.evaluation.causal.weighting import effective_size, kept, weight_slopes, weights
from muma.rng import derive


def test_before_is_the_textbooks(make_world):
    study = make_world(1, units=300).study
    x, t = study.covariate_NF[:, 0], study.treated_N
    gap, v1, v0 = x[t].mean() - x[~t].mean(), x[t].var(ddof=1), x[~t].var(ddof=1)
    for estimand, scale in (("att", v1**0.5), ("ate", ((v1 + v0) / 2) ** 0.5)):
        row = balance(study, np.ones(300), estimand=estimand).rows[0]
        assert row.before == pytest.approx(gap / scale)
        assert row.after == pytest.approx(row.before)
        assert row.ratio_before == pytest.approx(v1 / v0)


def test_weights_count_as_repeated_rows():
    rng = derive(2, "repeat")
    x, t, times = rng.normal(size=(60, 2)), np.array([1, 0, 0] * 20), rng.integers(1, 4, 60)
    weighted = balance(study_of(t, x), times.astype(float), estimand="att")
    wide = np.repeat(x, times, axis=0), np.repeat(t, times)
    repeated = balance(study_of(wide[1], wide[0]), np.ones(times.sum()), estimand="att")
    for a, b in zip(weighted.rows, repeated.rows, strict=True):
        assert a.treated == pytest.approx(b.treated)
        assert a.untreated == pytest.approx(b.untreated)


@given(st.integers(0, 10_000), st.sampled_from(["att", "ate", "ato"]))
def test_balance_knows_no_unit_and_no_scale_of_weights(seed, estimand):
    rng = derive(seed, "unit")
    x, t, w = rng.normal(size=(40, 2)), rng.permutation([0, 1] * 20), rng.random(40) + 0.01
    first = balance(study_of(t, x), w, estimand=estimand)
    other = balance(study_of(t, x * [3, 0.01] - 5), 17 * w, estimand=estimand)
    for a, b in zip(first.rows, other.rows, strict=True):
        assert (a.before, a.after, a.ratio_after) == pytest.approx(
            (b.before, b.after, b.ratio_after)
        )
    flipped = balance(study_of(1 - t, x), w, estimand="ate")
    for a, b in zip(balance(study_of(t, x), w, estimand="ate").rows, flipped.rows, strict=True):
        assert a.after == pytest.approx(-b.after)


def test_no_spread_among_the_treated():
    t = np.array([1, 1, 0, 0, 0])
    table = balance(
        study_of(t, np.array([[1.0, 5], [1, 5], [0, 5], [1, 5], [0, 5]])),
        np.ones(5),
        estimand="att",
    )
    first, same = table.rows
    assert first.before == pytest.approx((1 - 1 / 3) / np.sqrt((1 / 3) / 2))  # pooled instead
    assert same.before == same.after == 0
    apart = balance(study_of(t, t[:, None].astype(float)), np.ones(5), estimand="att").rows[0]
    assert apart.before == np.inf
    assert balance(study_of(t, 1.0 - t[:, None]), np.ones(5), estimand="att").largest == np.inf


def test_what_is_constant_has_no_difference_of_rounding():
    rng = derive(6, "constant")
    x, t, w = rng.normal(size=200), rng.random(200) < 0.37, rng.random(200)
    value_NF = np.stack([x, np.full(200, 0.1), np.where(t, 0.3, 0.1)], axis=1)
    for estimand in ("att", "ate"):
        _, same, apart = balance(study_of(t, value_NF), w, estimand=estimand).rows
        assert (same.before, same.after) == (0, 0)
        assert (apart.before, apart.after) == (np.inf, np.inf)
        scale_T = scales(value_NF, t, estimand)
        found_T = largest_difference(value_NF, t, w, scale_T)
        assert found_T[1:].tolist() == [0, np.inf]


def test_a_single_treated_unit():
    table = balance(
        study_of(np.array([1, 0, 0]), np.array([[1.0], [2.0], [4.0]])), np.ones(3), estimand="att"
    )
    assert np.isnan(table.rows[0].ratio_before)
    assert not np.isnan(table.rows[0].untreated)


def test_zeros_are_a_term_where_there_are_many():
    rng = derive(3, "zeros")
    pay = np.where(rng.random(100) < 0.4, 0.0, rng.random(100))
    flag, few = (rng.random(100) < 0.5).astype(float), rng.random(100)
    few[:3] = 0
    study = study_of(
        rng.permutation([0, 1] * 50), np.stack([pay, flag, few], 1), ["pay", "f=x", "few"]
    )
    assert balance_terms(study) == ("pay", "`f=x`", "few", "pay=0")


def test_overlap_weights_balance_exactly(make_world):
    study = make_world(4).study
    score = fit_logistic(study.covariate_NF, study.treated_N).predict(study.covariate_NF)
    found = balance(study, weights(score, study.treated_N, "ato"), estimand="ato")
    assert found.largest < 1e-6 < 0.3 < found.largest_before  # Li et al. 2018, theorem 3


@pytest.mark.parametrize("estimand", ["att", "ate", "ato"])
def test_slopes_of_weights_are_their_derivatives(estimand):
    odds, treated, step = np.linspace(-3, 3, 13), np.arange(13) % 2 == 0, 1e-6
    sides = [weights(1 / (1 + np.exp(-(odds + s))), treated, estimand) for s in (-step, step)]
    want = (sides[1] - sides[0]) / (2 * step)
    got = weight_slopes(1 / (1 + np.exp(-odds)), treated, estimand)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-8)


def test_trimming_and_effective_size():
    score = np.array([0.05, 0.5, 0.95])
    assert kept(score, "ate", 0.1).tolist() == [False, True, False]
    assert kept(score, "att", 0.1).tolist() == [True, True, False]
    assert effective_size(np.full(7, 3.0)) == pytest.approx(7)
    assert effective_size(np.array([1.0, 0, 0])) == 1
    assert effective_size(np.zeros(3)) == 0


def test_overlap_counts_and_doubts():
    rng = derive(5, "overlap")
    treated = rng.permutation([True] * 100 + [False] * 300)
    score = np.clip(rng.normal(np.where(treated, 0.7, 0.3), 0.15), 0.01, 0.99)
    good = overlap(score, treated, np.ones(400), "att")
    for shares in (good.treated_S, good.untreated_S, good.treated_after_S, good.untreated_after_S):
        assert shares.sum() == pytest.approx(1)
    beyond = np.mean(score[treated] > score[~treated].max())
    assert good.outside == pytest.approx(beyond + np.mean(score[treated] < score[~treated].min()))
    assert (good.treated, good.untreated, good.untreated_effective) == (100, 300, 300)
    heavy = np.where(treated, 1.0, 0.001)
    heavy[np.flatnonzero(~treated)[0]] = 5.0
    bad = overlap(np.where(treated, 0.8, 0.2), treated, heavy, "att")
    assert bad.outside == 1
    assert len(bad.doubts) == 3
    assert good.as_json()["doubts"] == list(good.doubts)
