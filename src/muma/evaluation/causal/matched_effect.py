"""The effect from matched sets, with the standard errors of Abadie and Imbens.

    effect on the treated = mean over sets of  Y_i - mean of members' Y
    N1^2 variance = sum_i (d_i - effect)^2 + sum_j (K_j^2 - K'_j) s_j^2              (att)
    N^2  variance = sum_i (d_i - effect)^2 + sum_j (K_j^2 + 2 K_j - K'_j) s_j^2      (ate)

(Econometrica 2006, theorems 6 and 7, for sets of any size.) s_j^2 is the variance of the outcome given the
score, from the nearest units of the same group: J / (J + 1) (Y_j - mean of J neighbours)^2, J = 2. The
bootstrap is invalid for nearest neighbours with replacement (Abadie and Imbens, Econometrica 2008), so there is none.
The score counts as known: for `ate` that is conservative, for `att` it may err either way (Abadie and
Imbens, Econometrica 2016).

The bias correction adds m(x_i) - m(x_j) to each comparison, m a linear model of the other group's matched
outcomes (Abadie and Imbens, Journal of Business and Economic Statistics 2011).

Shape: N units, M sets, P terms.
"""

from __future__ import annotations

import numpy as np

from muma.evaluation.causal.design import Design
from muma.evaluation.causal.estimate import Estimate
from muma.evaluation.causal.matched_sets import MatchedSets
from muma.evaluation.causal.matching import on_scale, with_ties
from muma.evaluation.causal.outcome_model import Linear
from muma.evaluation.causal.weighting import kept

_NEIGHBOURS = 2


def matched_effect(design: Design, outcome_N: np.ndarray) -> Estimate:
    """Effect and standard error; the latter is NaN if a group has a single unit."""
    config, treated_N = design.config, design.study.treated_N
    n_units = len(design.study)
    one_sums, zero_sums, differences = [], [], []
    factor_N = np.zeros(n_units)
    for sets in design.sets:
        own_M, other_M = outcome_N[sets.unit_M], _imputed(design, sets, outcome_N)
        seeks_treated = bool(treated_N[sets.unit_M[0]])
        one_M, zero_M = (own_M, other_M) if seeks_treated else (other_M, own_M)
        one_sums.append(one_M)
        zero_sums.append(zero_M)
        differences.append(one_M - zero_M)
        use_N, square_N = sets.use(n_units), sets.use(n_units, power=2)
        factor_N += use_N**2 - square_N
        if config.estimand == "ate":
            factor_N += 2 * use_N
    one_M, zero_M = np.concatenate(one_sums), np.concatenate(zero_sums)
    difference_M = np.concatenate(differences)
    score_N = on_scale(design.propensity.score_N, config.scale)
    keep_N = kept(design.propensity.score_N, config.estimand, config.trim)
    used_N = factor_N > 1e-9
    spread_N = np.zeros(n_units)
    for group_N in (treated_N & keep_N, ~treated_N & keep_N):
        if (used_N & group_N).any():
            spread_N[group_N] = conditional_variance(score_N[group_N], outcome_N[group_N])
    square = np.sum((difference_M - difference_M.mean()) ** 2) + np.sum(
        factor_N[used_N] * spread_N[used_N]
    )
    error = float(np.sqrt(square)) / len(difference_M)
    if len(difference_M) < 2:
        error = float("nan")
    return Estimate(float(one_M.mean()), float(zero_M.mean()), error, difference_M)


def conditional_variance(
    score_n: np.ndarray, outcome_n: np.ndarray, *, neighbours: int = _NEIGHBOURS
) -> np.ndarray:
    """Variance of the outcome given the score, from the nearest units of the group, [n].

    Units as near as the last neighbour count too; NaN where a unit has none.
    """
    alone = np.arange(len(score_n))
    sets = with_ties(score_n, alone, alone, neighbours + 1, np.inf)  # each finds itself too
    others_n = sets.size_M - 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_n = (sets.mean(outcome_n) * sets.size_M - outcome_n) / others_n
        return others_n / (others_n + 1) * (outcome_n - mean_n) ** 2


def _imputed(design: Design, sets: MatchedSets, outcome_N: np.ndarray) -> np.ndarray:
    """The other group's outcome for each matched unit."""
    if not design.config.bias_correction:
        return sets.mean(outcome_N)
    x_NP, use_N = design.terms.value_NP, sets.use(len(outcome_N))
    taken = use_N > 0
    model = Linear().fit(x_NP[taken], outcome_N[taken], use_N[taken])
    foretold_N = model.predict(x_NP)
    return sets.mean(outcome_N - foretold_N) + foretold_N[sets.unit_M]
