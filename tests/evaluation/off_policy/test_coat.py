"""Coat: propensities against the bias of self-selected ratings; and the estimator on a made-up world."""

import importlib

import numpy as np
import pytest

from muma.errors import DataError
from muma.evaluation.off_policy.missing_ratings import rating_error
from muma.rng import derive

GRID = [(0, 3.0), (10, 5.0), (10, 8.0)]


@pytest.fixture
def coat(published, home, monkeypatch):
    """The benchmark, its ratings and its published propensities."""
    if not (published / "coat").is_dir():
        pytest.skip("data set coat is absent; set MUMA_DATA to the folder that holds it")
    monkeypatch.setenv("MUMA_DATA", str(published))
    monkeypatch.syspath_prepend(str(home / "benchmarks"))
    bench = importlib.import_module("coat")
    return bench, bench.read("train"), bench.read("test"), bench.read("propensities")


def test_the_data_are_what_the_source_says(coat):
    _, train_UI, test_UI, propensity_UI = coat
    assert (train_UI > 0).sum() == 6960
    assert (test_UI > 0).sum() == 4640
    assert train_UI[train_UI > 0].mean() == pytest.approx(2.61, abs=0.005)
    assert test_UI[test_UI > 0].mean() == pytest.approx(2.23, abs=0.005)
    assert 0 < propensity_UI.min() < propensity_UI.max() < 1


def test_weighted_training_beats_plain_training_on_random_ratings(coat):
    """Published: 1.093 against 1.202 (squared), .860 against .920 (absolute)."""
    bench, train_UI, test_UI, propensity_UI = coat
    found = bench.training(train_UI, test_UI, {"published": propensity_UI}, seeds=1, grid=GRID)
    assert found["mf_published_mse_gain_low"] > 0.05
    assert found["mf_published_mae_gain_low"] > 0.02
    assert found["mf_published_mse"] < 1.12
    assert found["mf_published_mae"] < 0.88


@pytest.mark.slow
def test_weighted_estimates_are_nearer_to_the_error_on_random_ratings(coat):
    bench, train_UI, test_UI, propensity_UI = coat
    found = bench.evaluation(
        train_UI, test_UI, {"published": propensity_UI}, splits=2, resamples=300
    )
    assert found["evaluation_published_off_gain_low"] > 0


def test_given_ratings_tell_the_error_over_all_pairs():
    """A world where the loss is known for every pair, and large losses are rarely shown."""
    rng = derive(1, "ratings")
    loss_UI = rng.exponential(size=(400, 200))
    chance_UI = np.clip(0.3 * np.exp(-loss_UI), 0.01, 1)
    covered, plain = 0, 0
    for world in range(40):
        given_UI = derive(world, "given").random(loss_UI.shape) < chance_UI
        user_N = np.nonzero(given_UI)[0]
        found = rating_error(loss_UI[given_UI], chance_UI[given_UI], user_N)
        naive = rating_error(loss_UI[given_UI], None, user_N)
        covered += found.low < loss_UI.mean() < found.high
        plain += naive.low < loss_UI.mean() < naive.high
        assert found.n <= 400
        assert found.effective_n < naive.effective_n
    assert covered >= 35
    assert plain == 0


@pytest.mark.parametrize(
    ("loss", "chance", "message"),
    [
        ([], None, "0 losses"),
        ([1.0, np.nan], None, "must be finite"),
        ([1.0, 2.0], [0.5, 0.0], "1 of them outside"),
        ([1.0, 2.0], [0.5, np.nan], "1 of them outside"),
        ([1.0, 2.0], [0.5, 1.1], "1 of them outside"),
        ([1.0, 2.0], [0.5], "for 2 losses"),
    ],
)
def test_mistakes_are_told(loss, chance, message):
    with pytest.raises(DataError, match=message):
        rating_error(np.array(loss), None if chance is None else np.array(chance))


def test_equal_chances_are_the_plain_mean():
    loss_N = derive(2, "loss").random(50)
    same = rating_error(loss_N, np.full(50, 0.2))
    assert same.value == pytest.approx(loss_N.mean())
    assert same.effective_n == pytest.approx(50)
