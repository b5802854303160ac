"""Designs are made without outcomes; every look is recorded; the fingerprint sees all that decides."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from muma.config import parse
from muma.errors import ConfigError, DataError
from muma.evaluation.causal import design as module
from muma.evaluation.causal.design import Design, DesignConfig, make_design
from muma.evaluation.causal.outcome_model import Linear
from muma.evaluation.causal.search import search_design
from muma.evaluation.causal.study import Study, study_of


@pytest.fixture
def fresh(make_world):
    """A world whose study nobody has looked at."""

    def make(seed, **options):
        world = make_world(seed, **options)
        return replace(world, study=replace(world.study, openings=[]))

    return make


def test_no_argument_of_designing_takes_an_outcome():
    for function in (make_design, search_design, study_of, module.weigh):
        assert not any("outcome" in name for name in inspect.signature(function).parameters)
    for kind in (Study, Design):
        assert not any("outcome" in name for name in kind.__dataclass_fields__)
    assert not hasattr(Design, "estimate")


def test_looks_are_counted_and_later_designs_say_so(fresh):
    world = fresh(1, units=200)
    first = make_design(world.study)
    beside = make_design(world.study, DesignConfig(method="weighting"))
    one = first.freeze().estimate(world.outcome_N, name="y")
    two = beside.freeze().estimate(world.outcome_N, name="y")
    assert (one.looks, one.blind, two.looks, two.blind) == (1, True, 2, True)
    later = make_design(world.study, DesignConfig(matches=2))
    three = later.freeze().estimate(world.outcome_N, name="y")
    assert (three.looks, three.blind) == (3, False)
    assert [look.design for look in world.study.openings] == [one.design, two.design, three.design]
    assert len({look.outcome for look in world.study.openings}) == 1
    assert world.study.openings[0].name == "y"
    assert one.design == first.fingerprint == first.freeze().fingerprint
    assert one.as_json()["result"]["value"] == one.result.value


def test_the_same_design_again_is_still_blind(fresh):
    world = fresh(2, units=200)
    make_design(world.study).freeze().estimate(world.outcome_N)
    again = make_design(world.study).freeze().estimate(world.outcome_N)
    assert again.blind
    assert again.looks == 2


def test_the_fingerprint_sees_all_that_decides(fresh):
    world = fresh(3, units=200)
    config = DesignConfig(method="aipw", folds=2)
    forest = lambda: HistGradientBoostingClassifier(max_iter=5)  # noqa: E731
    larger = lambda: HistGradientBoostingClassifier(max_iter=6)  # noqa: E731
    designs = [
        make_design(world.study, config),
        make_design(world.study, DesignConfig(method="aipw", folds=2, seed=1)),
        make_design(world.study, config, ["a", "b", "c", "a^2"]),
        make_design(world.study, config, classifier=forest),
        make_design(world.study, config, classifier=larger),
        make_design(world.study, config, regressor=HistGradientBoostingRegressor),
        make_design(world.study, config, known_N=np.full(200, 0.5)),
        make_design(world.study, config, known_N=world.chance_N),
        make_design(replace(world.study, treated_N=~world.study.treated_N), config),
    ]
    assert len({design.fingerprint for design in designs}) == len(designs)
    assert make_design(world.study, config, regressor=Linear).fingerprint != designs[0].fingerprint
    assert make_design(world.study, config).fingerprint == designs[0].fingerprint


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"estimand": "ato"}, "is a weighting"),
        ({"estimand": "ate", "replacement": False}, "effect on the treated"),
        ({"repeats": 3}, "need cross-fitting"),
        ({"calibration": "platt"}, "need cross-fitting"),
        ({"caliper": 0}, "greater than 0"),
        ({"trim": 0.5}, "less than 0.5"),
        ({"matches": 0}, "greater than or equal to 1"),
        ({"caliperr": 0.2}, "did you mean 'caliper'"),
        ({"method": "psm"}, "matching"),
    ],
)
def test_wrong_options_are_refused(data, said):
    with pytest.raises(ConfigError, match=said):
        parse(DesignConfig, data)


def test_a_classifier_must_be_cross_fitted(fresh):
    with pytest.raises(ConfigError, match="folds to 5"):
        make_design(fresh(4, units=100).study, classifier=HistGradientBoostingClassifier)


@pytest.mark.parametrize(
    "wrong", [np.full(100, 0.0), np.full(100, 1.0), np.full(99, 0.5), np.full(100, np.nan)]
)
def test_known_scores_are_probabilities(fresh, wrong):
    with pytest.raises(DataError, match="strictly between"):
        make_design(fresh(5, units=100).study, known_N=wrong)


def test_no_overlap_is_said():
    x = np.arange(40.0)[:, None]
    with pytest.raises(DataError, match=r"no overlap|does not settle"):
        make_design(study_of(x[:, 0] > 20, x))
    chance = np.where(np.arange(40) < 20, 0.02, 0.98)
    study = study_of(np.arange(40) >= 20, x)
    with pytest.raises(DataError, match="trimming leaves none of 20"):
        make_design(study, DesignConfig(method="weighting", trim=0.05), known_N=chance)
    with pytest.raises(DataError, match="the caliper leaves none"):
        make_design(study, DesignConfig(caliper=0.01), known_N=chance)


def test_the_caliper_is_in_standard_deviations_of_the_score(fresh):
    world = fresh(6, units=400)
    for scale in ("logit", "probability"):
        design = make_design(world.study, DesignConfig(caliper=0.02, scale=scale))
        score = design.propensity.score_N
        at = np.log(score / (1 - score)) if scale == "logit" else score
        sets = design.sets[0]
        for place, unit in enumerate(sets.unit_M):
            assert np.abs(at[sets.members(place)] - at[unit]).max() <= 0.02 * at.std() + 1e-9
        other = at[~world.study.treated_N]
        for unit in sets.unmatched:
            assert np.abs(other - at[unit]).min() > 0.02 * at.std() - 1e-9
        assert design.left_out == len(sets.unmatched)


def test_repeats_average_the_weights_of_the_splits(fresh):
    world = fresh(7, units=300)
    config = DesignConfig(
        method="weighting", estimand="ate", folds=3, repeats=3, calibration="platt"
    )
    design = make_design(world.study, config)
    want = [np.where(world.study.treated_N, 1 / e, 1 / (1 - e)) for e in design.propensity.score_RN]
    np.testing.assert_allclose(design.weight_N, np.mean(want, axis=0))
    assert np.isfinite(design.freeze().estimate(world.outcome_N).error)


def test_clipping_bounds_the_weights_and_spares_small_scores_of_att(fresh):
    world = fresh(8, units=400, strength=2.5)
    options = {"method": "weighting", "folds": 4, "clip": 0.05}
    ate, att, free = (
        make_design(world.study, DesignConfig(**{**options, **more}))
        for more in ({"estimand": "ate"}, {}, {"clip": 0.0})
    )
    raw = free.propensity.score_N
    assert raw.min() < 0.05 < 0.95 < raw.max()
    np.testing.assert_allclose(ate.propensity.score_N, np.clip(raw, 0.05, 0.95))
    np.testing.assert_allclose(att.propensity.score_N, np.minimum(raw, 0.95))
    assert ate.weight_N.max() <= 20 + 1e-9
    assert att.weight_N.max() <= 19 + 1e-9
    assert DesignConfig(method="aipw").limit == 0.01
    assert DesignConfig().limit == 0
