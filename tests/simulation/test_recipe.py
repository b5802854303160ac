"""Recipes of simulations, intervals over seeds, and what the paper's cycle must lose."""

import numpy as np
import pytest
from scipy.stats import ttest_rel

from muma.errors import ConfigError, DataError
from muma.simulation.outcome import over_seeds
from muma.simulation.recipe import POLICIES, SimulationConfig, named, run
from muma.simulation.recorder import checkpoints


def test_the_default_loses_less_than_the_cycle_and_knows_its_arms():
    config = {"policies": {n: POLICIES[n] for n in ("thompson-forgetting", "cycle")}}
    found = run(SimulationConfig.model_validate({**config, "rounds": 4000, "seeds": 6}))
    saved = found.saved("thompson-forgetting", against="cycle")
    assert saved.low > 0
    assert abs(found.bias("thompson-forgetting").value) < 0.03
    assert found.bias("cycle").low > 0.5  # of true rates from 0.02 to 0.2
    play, other = (found.plays[n].regret_SC[:, -1] for n in ("thompson-forgetting", "cycle"))
    interval = ttest_rel(other, play).confidence_interval(0.95)
    assert (saved.low, saved.high) == pytest.approx((interval.low, interval.high))


def test_curves_end_where_results_stand():
    found = run(SimulationConfig(rounds=200, seeds=4, points=7))
    for name in found.plays:
        curve, end = found.curves(name), found.regret(name)
        assert curve["rounds"].tolist() == found.rounds_C.tolist() == checkpoints(200, 7).tolist()
        assert (curve["regret"][-1], curve["regret_low"][-1]) == (end.value, end.low)
        assert curve["bias_high"][-1] == found.bias(name).high
        assert (np.diff(curve["regret"]) >= 0).all()


def test_equal_seeds_give_equal_games_whoever_else_plays():
    alone = run(SimulationConfig.model_validate({"policies": {"u": POLICIES["ucb"]}, "rounds": 90}))
    among = run(SimulationConfig(rounds=90))
    np.testing.assert_array_equal(alone.plays["u"].regret_SC, among.plays["ucb"].regret_SC)


def test_over_seeds():
    one = over_seeds(np.array([2.0]))
    assert one.value == 2
    assert np.isnan(one.low)
    for wrong in (np.zeros(0), np.array([1.0, np.nan])):
        with pytest.raises(DataError, match="games"):
            over_seeds(wrong)


def test_names_and_baselines():
    assert named("a.b.C", POLICIES, what="policy") == {"use": "a.b.C"}
    with pytest.raises(ConfigError, match="allowed: thompson"):
        named("nosuch", POLICIES, what="policy")
    with pytest.raises(ConfigError, match="'x' is not among"):
        run(SimulationConfig(baseline="x"))
    with pytest.raises(ConfigError, match="no policies"):
        run(SimulationConfig(policies={}))
