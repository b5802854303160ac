"""Scores: cross-fitting, calibration and classifiers handed in."""

import numpy as np
import pytest
from scipy.optimize import isotonic_regression
from scipy.special import expit, logit
from sklearn.ensemble import HistGradientBoostingClassifier

from muma.errors import DataError
from muma.evaluation.causal.logistic import fit_logistic
from muma.evaluation.causal.propensity import calibrated, fit_propensity, split
from muma.evaluation.causal.specification import basis
from muma.evaluation.metrics.calibration import calibration_error
from muma.rng import derive


def test_out_of_fold_scores_come_from_the_other_folds(make_world):
    study = make_world(1, units=200).study
    terms = basis(study, ["a", "b"])
    found = fit_propensity(study.treated_N, terms, folds=4, repeats=2, seed=3)
    assert found.score_RN.shape == found.fold_RN.shape == (2, 200)
    assert (found.fold_RN[0] != found.fold_RN[1]).any()
    for fold in range(4):
        out = found.fold_RN[1] == fold
        fit = fit_logistic(terms.value_NP[~out], study.treated_N[~out])
        np.testing.assert_allclose(found.score_RN[1, out], fit.predict(terms.value_NP[out]))
    np.testing.assert_allclose(found.score_N, found.score_RN.mean(axis=0))
    again = fit_propensity(study.treated_N, terms, folds=4, repeats=2, seed=3)
    np.testing.assert_array_equal(again.score_RN, found.score_RN)


def test_folds_share_out_both_groups():
    treated = derive(1, "t").random(103) < 0.2
    fold = split(treated, 5, seed=1)
    for group in (treated, ~treated):
        count = np.bincount(fold[group], minlength=5)
        assert count.max() - count.min() <= 1
    with pytest.raises(DataError, match="lower folds"):
        split(np.array([True, False, False, False]), 2, seed=1)


def test_platt_mends_a_slope_and_isotonic_a_bend():
    rng = derive(4, "calibration")
    truth = expit(rng.normal(size=6000))
    treated = rng.random(6000) < truth
    fold = split(treated, 5, seed=1)
    steep, bent = expit(3 * logit(truth) + 1), truth**3 * 0.9 + 0.05
    for wrong, how, least in ((steep, "platt", 0.03), (bent, "isotonic", 0.03)):
        mapped = calibrated(wrong, treated, fold, how=how)
        before, after = (calibration_error(treated.astype(float), s) for s in (wrong, mapped))
        assert after < least < before / 2
        assert ((mapped > 0) & (mapped < 1)).all()
    # the map of a fold is learned without it
    out = fold == 2
    order = np.argsort(bent[~out])
    step = isotonic_regression(treated[~out][order].astype(float)).x
    mine = calibrated(bent, treated, fold, how="isotonic")[out]
    want = np.interp(bent[out], bent[~out][order], step)
    edge = 0.5 / (~out).sum()
    np.testing.assert_allclose(mine, np.clip(want, edge, 1 - edge), atol=1e-12)


def test_a_classifier_is_handed_in(make_world):
    study = make_world(5, units=800).study
    terms = basis(study, ["a", "b", "c"])
    make = lambda: HistGradientBoostingClassifier(max_iter=30, random_state=1)  # noqa: E731
    found = fit_propensity(study.treated_N, terms, folds=2, seed=1, classifier=make)
    out = found.fold_RN[0] == 1
    peer = make().fit(terms.value_NP[~out], study.treated_N[~out].astype(int))
    want = peer.predict_proba(terms.value_NP[out])[:, 1]
    np.testing.assert_allclose(found.score_RN[0, out], want)
    assert found.logistic is None


def test_an_answer_that_is_no_probability_is_refused(make_world):
    class Wrong:
        def fit(self, X, y):
            return self

        def predict_proba(self, X):
            return np.full((len(X), 2), np.nan)

    study = make_world(5, units=50).study
    with pytest.raises(DataError, match="probabilities of 0 and 1"):
        fit_propensity(study.treated_N, basis(study, ["a"]), folds=2, classifier=Wrong)
