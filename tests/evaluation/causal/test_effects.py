"""Estimators against brute force, closed forms and numerical derivatives."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.special import expit

from muma.errors import DataError
from muma.evaluation.causal.aipw import aipw_effect
from muma.evaluation.causal.design import DesignConfig, make_design
from muma.evaluation.causal.matched_effect import conditional_variance, matched_effect
from muma.evaluation.causal.outcome_model import Linear
from muma.evaluation.causal.study import study_of
from muma.evaluation.causal.weighted_effect import weighted_effect
from muma.evaluation.causal.weighting import weights


def abadie_imbens(score, treated, y, matches, estimand):
    """Theorems 6 and 7 by loops, for scores without ties."""
    n = len(y)

    def nearest(i, pool, k):
        return sorted(pool, key=lambda j: abs(score[j] - score[i]))[:k]

    groups = {g: np.flatnonzero(treated == g).tolist() for g in (False, True)}
    used, effect = np.zeros(n), []
    for i in range(n):
        if estimand == "att" and not treated[i]:
            continue
        partners = nearest(i, groups[not treated[i]], matches)
        used[partners] += 1
        sign = 1 if treated[i] else -1
        effect.append(sign * (y[i] - y[partners].mean()))
    effect = np.array(effect)
    total = np.sum((effect - effect.mean()) ** 2)
    for j in range(n):
        others = nearest(j, [i for i in groups[treated[j]] if i != j], 2)
        spread = 2 / 3 * (y[j] - y[others].mean()) ** 2
        share = used[j] / matches
        if estimand == "ate":
            total += (share**2 + (2 * matches - 1) / matches * share) * spread
        elif not treated[j]:
            total += used[j] * (used[j] - 1) / matches**2 * spread
    return effect.mean(), np.sqrt(total) / len(effect)


@pytest.mark.parametrize("estimand", ["att", "ate"])
@pytest.mark.parametrize("matches", [1, 3])
def test_matching_is_abadie_and_imbens(make_world, estimand, matches):
    world = make_world(1, units=120)
    design = make_design(world.study, DesignConfig(estimand=estimand, matches=matches))
    found = matched_effect(design, world.outcome_N)
    score = design.propensity.score_N
    want = abadie_imbens(np.log(score / (1 - score)), world.study.treated_N, world.outcome_N, matches,
                         estimand)  # fmt: skip
    assert (found.value, found.error) == pytest.approx(want, rel=1e-9)
    table = {row.term: row for row in design.balance.rows}
    one, zero = (np.average(world.study.covariate_NF[g, 0], weights=design.weight_N[g])
                 for g in (world.study.treated_N, ~world.study.treated_N))  # fmt: skip
    assert (table["a"].treated, table["a"].untreated) == pytest.approx((one, zero))


def test_pairs_without_replacement_have_the_paired_error(make_world):
    world = make_world(2, units=300)
    design = make_design(world.study, DesignConfig(replacement=False, caliper=0.2))
    found = matched_effect(design, world.outcome_N)
    sets = design.sets[0]
    pair = world.outcome_N[sets.unit_M] - world.outcome_N[sets.order_C]
    assert design.left_out == world.study.treated_N.sum() - len(pair) > 0
    assert found.value == pytest.approx(pair.mean())
    assert found.error == pytest.approx(pair.std() / np.sqrt(len(pair)))


def test_bias_correction_is_exact_where_the_outcome_is_linear(make_world):
    world = make_world(3, units=200)
    y = world.study.covariate_NF @ [3.0, -1, 0.5] + 4 + 2.0 * world.study.treated_N
    plain = make_design(world.study, DesignConfig())
    mended = make_design(world.study, DesignConfig(bias_correction=True))
    assert abs(matched_effect(plain, y).value - 2) > 0.01
    assert matched_effect(mended, y).value == pytest.approx(2)


def test_variance_of_equal_scores_uses_all_of_them():
    score, y = np.array([0.0, 0, 0, 0, 1, 9]), np.array([1.0, 2, 3, 6, 5, 5])
    found = conditional_variance(score, y, neighbours=2)
    assert found[0] == pytest.approx(3 / 4 * (1 - 11 / 3) ** 2)
    assert found[4] == pytest.approx(4 / 5 * (5 - 3) ** 2)  # four units tie at distance 1
    assert np.isnan(conditional_variance(np.array([1.0]), np.array([2.0]))).all()


@pytest.mark.parametrize(("clip", "l2"), [(0.0, 0.0), (0.2, 0.0), (0.0, 30.0), (0.1, 30.0)])
@pytest.mark.parametrize("estimand", ["att", "ate", "ato"])
def test_the_sandwich_is_that_of_the_stacked_equations(make_world, estimand, clip, l2):
    world = make_world(4, units=250)
    study, y, t = world.study, world.outcome_N, world.study.treated_N.astype(float)
    design = make_design(
        study, DesignConfig(method="weighting", estimand=estimand, clip=clip, l2=l2)
    )
    found = weighted_effect(design, y)
    x, penalty_Q = design.propensity.x_NQ, np.array([0, l2, l2, l2]) / 250

    def equations(theta):
        score = expit(x @ theta[:4])
        lowest = 0.0 if estimand == "att" else clip
        w = weights(np.clip(score, lowest, 1 - clip), study.treated_N, estimand)
        scores = x * (t - score)[:, None] - penalty_Q * theta[:4]
        ends = [t * w * (y - theta[4]), (1 - t) * w * (y - theta[5])]
        return np.hstack([scores, np.stack(ends, axis=1)])

    fit = design.propensity.logistic.scaled_Q
    theta = np.concatenate([fit, [found.treated, found.untreated]])
    rows = equations(theta)
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-6)
    slope = np.stack([approx_fprime(theta, lambda p, i=i: equations(p)[:, i].mean(), 1e-7)
                      for i in range(6)])  # fmt: skip
    inverse = np.linalg.inv(slope)
    cover = inverse @ (rows.T @ rows / 250) @ inverse.T / 250
    contrast = np.array([0, 0, 0, 0, 1.0, -1])
    assert found.error == pytest.approx(np.sqrt(contrast @ cover @ contrast), rel=1e-4)


def test_known_constant_scores_give_the_difference_of_means(make_world):
    world = make_world(5, units=300, strength=0.0)
    design = make_design(
        world.study, DesignConfig(method="weighting", estimand="ate"), known_N=np.full(300, 0.4)
    )
    found = weighted_effect(design, world.outcome_N)
    one, zero = world.outcome_N[world.study.treated_N], world.outcome_N[~world.study.treated_N]
    assert found.value == pytest.approx(one.mean() - zero.mean())
    assert found.error == pytest.approx(np.sqrt(one.var() / len(one) + zero.var() / len(zero)))


@pytest.mark.parametrize("estimand", ["att", "ate"])
def test_aipw_by_hand(make_world, estimand):
    world = make_world(6, units=200)
    study, y, t = world.study, world.outcome_N, world.study.treated_N
    config = DesignConfig(method="aipw", estimand=estimand, folds=3, repeats=3, seed=2)
    design = make_design(study, config)
    effects, variances = [], []
    for e, fold in zip(design.propensity.score_RN, design.propensity.fold_RN, strict=True):
        m = {}
        for group in (False, True):
            m[group] = np.empty(200)
            for k in range(3):
                seen = (fold != k) & (t == group)
                x = np.hstack([np.ones((200, 1)), study.covariate_NF])
                b = np.linalg.lstsq(x[seen], y[seen], rcond=None)[0]
                m[group][fold == k] = (x @ b)[fold == k]
        if estimand == "ate":
            psi = m[True] - m[False] + t * (y - m[True]) / e - ~t * (y - m[False]) / (1 - e)
            effects.append(psi.mean())
            variances.append(psi.var() / 200)
        else:
            rest = (t - ~t * e / (1 - e)) * (y - m[False])
            effects.append(rest.sum() / t.sum())
            variances.append(np.mean((rest - t * effects[-1]) ** 2) / t.mean() ** 2 / 200)
    value = np.median(effects)
    error = np.sqrt(np.median(np.array(variances) + (np.array(effects) - value) ** 2))
    found = aipw_effect(design, y)
    assert (found.value, found.error) == pytest.approx((value, error), rel=1e-9)


def test_aipw_is_right_if_either_model_is(make_world):
    world = make_world(7, units=20_000, curved=True)
    config = DesignConfig(method="aipw", estimand="ate")
    flat = np.full(20_000, 0.5)
    wrong_scores = make_design(world.study, config, ["a", "b", "a^2"], known_N=flat)
    wrong_outcome = make_design(world.study, config, ["c"], known_N=world.chance_N)
    both = make_design(world.study, config, ["c"], known_N=flat)
    for design, close in ((wrong_scores, True), (wrong_outcome, True), (both, False)):
        found = aipw_effect(design, world.outcome_N)
        assert (abs(found.value - world.ate) < 4 * found.error) is close


def test_a_regressor_is_handed_in(make_world):
    world = make_world(8, units=100)
    config = DesignConfig(method="aipw", estimand="ate")
    own = aipw_effect(make_design(world.study, config), world.outcome_N)
    same = aipw_effect(make_design(world.study, config, regressor=Linear), world.outcome_N)
    assert own == same


def test_everything_shifts_and_scales_with_the_outcome(make_world):
    world = make_world(9, units=200)
    for method, estimand in [
        ("matching", "att"),
        ("matching", "ate"),
        ("weighting", "ate"),
        ("aipw", "att"),
    ]:
        frozen = make_design(world.study, DesignConfig(method=method, estimand=estimand)).freeze()
        first, other = frozen.estimate(world.outcome_N), frozen.estimate(5 - 3 * world.outcome_N)
        assert other.result.value == pytest.approx(-3 * first.result.value)
        assert other.error == pytest.approx(3 * first.error)
        assert other.treated == pytest.approx(5 - 3 * first.treated)
        assert frozen.estimate(np.full(200, 2.0)).result.value == pytest.approx(0, abs=1e-9)


def test_trimmed_units_do_not_count(make_world):
    world = make_world(10, units=600, strength=2.0)
    for method in ("matching", "weighting", "aipw"):
        design = make_design(world.study, DesignConfig(method=method, estimand="ate", trim=0.1))
        out = design.weight_N == 0
        assert design.left_out == out.sum() > 20
        spoiled = np.where(out, 1e6, world.outcome_N)
        kept = design.freeze().estimate(world.outcome_N).result
        assert design.freeze().estimate(spoiled).result == kept


def test_a_single_pair_has_no_interval():
    study = study_of(np.array([1, 0, 0]), np.array([[0.0], [1.0], [-1.0]]))
    design = make_design(study, DesignConfig(method="matching"), known_N=np.array([0.5, 0.45, 0.3]))
    effect = design.freeze().estimate(np.array([3.0, 1.0, 0.0]))
    assert effect.result.value == 2
    assert np.isnan([effect.error, effect.result.low, effect.e_value.limit]).all()


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (np.zeros(5), "must be 100 numbers"),
        (np.full(100, "a"), "must be 100 numbers"),
        (np.where(np.arange(100) == 7, np.nan, 1.0), "not finite in row 7"),
        (np.where(np.arange(100) == 0, np.inf, 1.0), "not finite in row 0"),
    ],
)
def test_wrong_outcomes_are_refused_and_not_recorded(make_world, outcome, said):
    study = replace(make_world(11, units=100).study, openings=[])
    with pytest.raises(DataError, match=said):
        make_design(study).freeze().estimate(outcome, name="y")
    assert study.openings == []
