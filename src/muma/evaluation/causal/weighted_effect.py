"""The effect from weights, normalised in each group (Hajek), with sandwich standard errors.

    effect = sum w t Y / sum w t - sum w (1 - t) Y / sum w (1 - t)
    IF_i   = t w (Y - m1) / W1 - (1 - t) w (Y - m0) / W0  +  D' I^-1 (t - e) x_i

W are mean weights. The last part is there when one logistic model made the scores: fitting them usually
narrows the interval (Lunceford and Davidian, Statistics in Medicine 2004); e are the fitted scores before clipping, D is the
derivative of the effect with respect to the coefficients (a clipped score has none) and I the information a unit. Known, cross-fitted or boosted scores count as known.

Shape: N units, Q coefficients.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from muma.evaluation.causal.design import Design
from muma.evaluation.causal.estimate import Estimate
from muma.evaluation.causal.weighting import weight_slopes


def weighted_effect(design: Design, outcome_N: np.ndarray) -> Estimate:
    """Effect and its standard error."""
    treated_N, weight_N = design.study.treated_N, design.weight_N
    n_units = len(weight_N)
    one_N, zero_N = np.where(treated_N, weight_N, 0.0), np.where(treated_N, 0.0, weight_N)
    mean1 = float(one_N @ outcome_N / one_N.sum())
    mean0 = float(zero_N @ outcome_N / zero_N.sum())
    # each unit's distance from its group's mean, signed and per mean weight of the group
    pull_N = np.where(
        treated_N,
        (outcome_N - mean1) * n_units / one_N.sum(),
        -(outcome_N - mean0) * n_units / zero_N.sum(),
    )
    influence_N = weight_N * pull_N
    scores = design.propensity
    if scores.logistic is not None and scores.x_NQ is not None:
        score_N = scores.score_N
        fitted_N = expit(scores.x_NQ @ scores.logistic.scaled_Q)
        moves_N = (weight_N > 0) & (
            np.abs(score_N - fitted_N) < 1e-12
        )  # a clipped score stands still
        slope_N = weight_slopes(score_N, treated_N, design.config.estimand) * moves_N
        direction_Q = scores.x_NQ.T @ (slope_N * pull_N) / n_units
        information_QQ = scores.logistic.information_QQ / n_units
        solved_Q = np.linalg.lstsq(information_QQ, direction_Q, rcond=1e-12)[0]
        influence_N = influence_N + (scores.x_NQ @ solved_Q) * (treated_N - fitted_N)
        influence_N -= influence_N.mean()  # a penalty's share
    return Estimate(mean1, mean0, float(np.sqrt(np.sum(influence_N**2))) / n_units)
