"""Augmented inverse-propensity weighting, cross-fitted: right if either model is.

    ate: mean of m1 - m0 + t (Y - m1) / e - (1 - t) (Y - m0) / (1 - e)
    att: sum of t (Y - m0) - (1 - t) e / (1 - e) (Y - m0), over the number of treated

m1 and m0 are outcome models of each group, fitted on the folds that do not hold the unit (Robins, Rotnitzky and
Zhao, JASA 1994; Chernozhukov et al., Econometrics Journal 2018). Over R splits the median is told, with
variance median(variance_r + (effect_r - effect)^2), their definition 3.3.

Shape: N units, R splits.
"""

from __future__ import annotations

import numpy as np

from muma.evaluation.causal.design import Design
from muma.evaluation.causal.estimate import Estimate
from muma.evaluation.causal.outcome_model import Linear
from muma.evaluation.causal.weighting import kept


def aipw_effect(design: Design, outcome_N: np.ndarray) -> Estimate:
    """Effect and its standard error."""
    config, treated_N = design.config, design.study.treated_N
    keep_N = kept(design.propensity.score_N, config.estimand, config.trim)
    found = []
    for score_N, fold_N in zip(design.propensity.score_RN, design.propensity.fold_RN, strict=True):
        mean0_N = _foretold(design, outcome_N, ~treated_N & keep_N, fold_N)
        if config.estimand == "att":
            found.append(_on_treated(outcome_N, treated_N, score_N, mean0_N, keep_N))
        else:
            mean1_N = _foretold(design, outcome_N, treated_N & keep_N, fold_N)
            found.append(_on_all(outcome_N, treated_N, score_N, mean1_N, mean0_N, keep_N))
    one_R, zero_R, variance_R = np.array(found).T
    value = float(np.median(one_R - zero_R))
    variance = float(np.median(variance_R + (one_R - zero_R - value) ** 2))
    treated = float(np.median(one_R))
    return Estimate(treated, treated - value, float(np.sqrt(variance)))


def _on_all(
    outcome_N: np.ndarray,
    treated_N: np.ndarray,
    score_N: np.ndarray,
    mean1_N: np.ndarray,
    mean0_N: np.ndarray,
    keep_N: np.ndarray,
) -> tuple[float, float, float]:
    one_N = (mean1_N + np.where(treated_N, (outcome_N - mean1_N) / score_N, 0.0))[keep_N]
    zero_N = (mean0_N + np.where(treated_N, 0.0, (outcome_N - mean0_N) / (1 - score_N)))[keep_N]
    influence_n = one_N - zero_N - (one_N.mean() - zero_N.mean())
    return float(one_N.mean()), float(zero_N.mean()), float(np.mean(influence_n**2) / len(one_N))


def _on_treated(
    outcome_N: np.ndarray,
    treated_N: np.ndarray,
    score_N: np.ndarray,
    mean0_N: np.ndarray,
    keep_N: np.ndarray,
) -> tuple[float, float, float]:
    share = float(treated_N[keep_N].mean())
    rest_N = (outcome_N - mean0_N)[keep_N]
    signed_N = np.where(treated_N, 1.0, -score_N / (1 - score_N))[keep_N]
    effect = float(np.mean(signed_N * rest_N)) / share
    influence_n = (signed_N * rest_N - treated_N[keep_N] * effect) / share
    one = float(outcome_N[treated_N & keep_N].mean())
    return one, one - effect, float(np.mean(influence_n**2) / len(rest_N))


def _foretold(
    design: Design, outcome_N: np.ndarray, group_N: np.ndarray, fold_N: np.ndarray
) -> np.ndarray:
    """Every unit's outcome by a model of the group that has not seen the unit's fold."""
    x_NP, found_N = design.terms.value_NP, np.empty(len(outcome_N))
    make = design.regressor or Linear
    folds = np.unique(fold_N)
    for fold in folds:
        out_N = fold_N == fold
        seen_N = group_N & ~out_N if len(folds) > 1 else group_N
        model = make()
        model.fit(x_NP[seen_N], outcome_N[seen_N])
        found_N[out_N] = model.predict(x_NP[out_N])
    return found_N
