"""Guidance finds planted useless and flipping features, and is silent where nothing is wrong."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from muma.errors import ConfigError, DataError
from muma.ranking.guidance import Fold, GuidanceConfig, advise, effect

COLUMNS = ("steady", "flips", "weak", "noise", "constant")
WEIGHTS = {"may": [1.0, 0.8, 1e-4, 0.0, 0.0], "june": [1.0, -0.8, 1e-4, 0.0, 0.0]}


def fold(name, n=400, seed=0, weights=None):
    rng = np.random.default_rng([seed, len(name)])
    value_NF = rng.normal(size=(n, 5)).astype(np.float32)
    value_NF[:, 4] = 3.0
    phi_NF = value_NF * np.array(weights or WEIGHTS[name])
    phi_NF[:, 3] = 0.05 * rng.normal(size=n)
    return Fold(name, value_NF, phi_NF)


def kinds(folds, config=None):
    return {(advice.name, advice.kind) for advice in advise(folds, COLUMNS, config)}


def test_planted_faults_are_found_with_reasons():
    found = advise([fold("may"), fold("june")], COLUMNS)
    assert {(a.name, a.kind) for a in found} == {
        ("weak", "no_share"), ("constant", "no_share"), ("flips", "flips"),
    }  # fmt: skip
    (flips,) = [advice for advice in found if advice.kind == "flips"]
    assert "lifts the score in may" in flips.reason
    assert "lowers it in june" in flips.reason
    assert flips.found == pytest.approx((1.0, -1.0))


def test_gains_within_noise_are_named():
    rng = np.random.default_rng(3)
    folds = [
        replace(fold(name), gain_KF=0.01 * rng.normal(size=(8, 5)) + [0.5, 0.5, 0.0, 0.0, 0.0])
        for name in WEIGHTS
    ]
    found = kinds(folds)
    assert {name for name, kind in found if kind == "no_gain"} == {"weak", "noise", "constant"}
    folds[1] = replace(folds[1], gain_KF=None)
    assert not any(kind == "no_gain" for _, kind in kinds(folds))


def test_a_feature_that_helps_in_one_fold_is_kept():
    late = fold("june", weights=[1.0, 0.8, 0.5, 0.0, 0.0])
    assert ("weak", "no_share") not in kinds([fold("may"), late])


def test_noise_seldom_flips():
    alarms = 0
    for seed in range(40):
        folds = [fold(name, 60, seed, [1.0, 0.5, 0.5, 0.0, 0.0]) for name in ("a", "bb", "ccc")]
        config = GuidanceConfig(least_effect=0.0)
        alarms += any(advice.kind == "flips" for advice in advise(folds, COLUMNS, config))
    assert alarms <= 4  # 5 % promised; the binomial 95 % bound of 40 tries is 5


def test_effect_is_spearman_and_its_error_that_of_theory():
    rng = np.random.default_rng(0)
    value_NF = rng.normal(size=(500, 1))
    one = Fold("a", value_NF, 0.3 * value_NF + rng.normal(size=(500, 1)))
    at_F, error_F = effect(one, GuidanceConfig(n_resamples=1000))
    rho = spearmanr(one.value_NF[:, 0], one.phi_NF[:, 0]).statistic
    assert at_F[0] == pytest.approx(rho)
    assert error_F[0] == pytest.approx(
        np.sqrt((1 + rho**2 / 2) * (1 - rho**2) ** 2 / 497), rel=0.15
    )


def test_rows_of_one_list_count_once():
    one = fold("may", n=50)
    ten = Fold("may", *(np.repeat(a, 10, axis=0) for a in (one.value_NF, one.phi_NF)),
               group_N=np.repeat(np.arange(50), 10))  # fmt: skip
    assert effect(ten)[1][3] == pytest.approx(effect(one)[1][3], rel=0.05)
    assert effect(replace(ten, group_N=None))[1][3] < 0.5 * effect(one)[1][3]


def test_missing_and_constant_features_have_no_effect():
    one = fold("may")
    one.value_NF[:, 0] = np.nan
    at_F, _ = effect(one)
    assert np.isnan(at_F[[0, 4]]).all()
    assert kinds([one, fold("june")]) >= {("constant", "no_share")}
    assert advise([Fold("x", np.ones((1, 1)), np.zeros((1, 1)))], ("a",))[0].kind == "no_share"


def test_equal_seeds_give_equal_advice():
    folds = [fold("may"), fold("june")]
    assert advise(folds, COLUMNS) == advise(folds, COLUMNS)


def test_wrong_folds_are_refused():
    one = fold("may")
    with pytest.raises(ConfigError, match="at least one fold"):
        advise([], COLUMNS)
    wrong = [
        replace(one, phi_NF=one.phi_NF[:, :4]),
        Fold("empty", np.empty((0, 5)), np.empty((0, 5))),
        replace(one, phi_NF=np.full_like(one.phi_NF, np.nan)),
        replace(one, group_N=np.zeros(3, int)),
        replace(one, gain_KF=np.zeros((1, 5))),
    ]
    for bad in wrong:
        with pytest.raises(DataError, match=f"fold '{bad.name}'"):
            advise([one, bad], COLUMNS)
