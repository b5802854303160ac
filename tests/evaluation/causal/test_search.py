"""The search follows its rule, by balance alone."""

import numpy as np
import pytest

from muma.errors import DataError
from muma.evaluation.causal.design import DesignConfig, make_design
from muma.evaluation.causal.search import SearchConfig, candidates, search_design
from muma.evaluation.causal.study import study_of
from muma.rng import derive


@pytest.fixture(scope="module")
def study():
    """Treatment hangs on whether pay is 0 and on a product, so main effects do not balance."""
    rng = derive(1, "search")
    pay = np.where(rng.random(3000) < 0.4, 0.0, rng.lognormal(size=3000))
    age, flag = rng.normal(40, 10, 3000), (rng.random(3000) < 0.5).astype(float)
    odds = 1.5 * (pay == 0) - 0.8 * flag * (age - 40) / 10 - 1
    treated = rng.random(3000) < 1 / (1 + np.exp(-odds))
    return study_of(treated, np.stack([pay, age, flag], 1), ["pay", "age", "flag"])


def test_each_step_is_the_best_of_all_candidates(study):
    config = DesignConfig(method="weighting")
    design = search_design(study, config, SearchConfig(threshold=0.07))
    terms, names = ["pay", "age", "flag"], candidates(study, SearchConfig().kinds)
    assert design.path[0].largest == pytest.approx(
        make_design(study, config, terms).balance.largest
    )
    assert len(design.path) > 1
    for step in design.path[1:]:
        tried = {
            name: make_design(study, config, [*terms, name]).balance.largest
            for name in names if name not in terms
        }  # fmt: skip
        assert step.largest == pytest.approx(min(tried.values()))
        assert tried[step.term] == pytest.approx(step.largest)
        terms.append(step.term)
    assert [*design.terms.terms, *design.terms.dropped] == terms
    assert design.balance.largest == pytest.approx(design.path[-1].largest)
    assert design.balance.largest < 0.07
    assert min(step.largest for step in design.path[:-1]) >= 0.07


def test_without_patience_it_ends_sooner_and_keeps_the_best(study):
    config, goal = DesignConfig(method="weighting"), {"threshold": 1e-9, "most": 6}
    hasty = search_design(study, config, SearchConfig(patience=1, **goal))
    calm = search_design(study, config, SearchConfig(patience=3, **goal))
    assert calm.path[: len(hasty.path)] == hasty.path
    assert calm.balance.largest <= hasty.balance.largest
    for design in (hasty, calm):
        assert design.balance.largest == pytest.approx(min(step.largest for step in design.path))


def test_it_stops_at_once_if_the_start_balances(study):
    design = search_design(study, DesignConfig(method="weighting"), SearchConfig(threshold=10.0))
    assert len(design.path) == 1
    assert design.terms.terms == ("pay", "age", "flag")


def test_it_ends_when_nothing_helps_and_says_what_is_left(study):
    design = search_design(study, DesignConfig(), SearchConfig(threshold=1e-9, most=2))
    assert len(design.path) <= 3
    assert design.balance.largest > 1e-9


def test_a_searched_design_is_the_made_one(study):
    config = DesignConfig(method="weighting")
    found = search_design(study, config)
    made = make_design(study, config, found.terms.terms)
    assert made.fingerprint == found.fingerprint
    np.testing.assert_allclose(made.weight_N, found.weight_N)


def test_candidates_that_tell_the_groups_apart_are_passed_over():
    x = derive(2, "apart").integers(-3, 4, size=(200, 1)).astype(float)
    treated = np.abs(x[:, 0]) <= 1
    study = study_of(treated, x, ["x"])
    design = search_design(study, DesignConfig(method="weighting"), SearchConfig(threshold=1e-9))
    assert "x^2" not in design.terms.terms  # it would foretell the treatment exactly


def test_a_start_without_overlap_is_refused():
    x = np.arange(20.0)[:, None]
    with pytest.raises(DataError):
        search_design(study_of(x[:, 0] > 9, x))


def test_kinds_of_candidates(study):
    assert candidates(study, ["squares", "logs"]) == ["pay^2", "age^2", "log1p(pay)"] + (
        ["log1p(age)"] if study.covariate_NF[:, 1].min() >= 0 else []
    )
    assert candidates(study, ["zeros"]) == ["pay=0"]
    assert "pay:pay=0" not in candidates(study, ["products"])
