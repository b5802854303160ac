import numpy as np
import pytest
import scipy.stats

from muma.errors import ConfigError, DataError
from muma.evaluation.intervals import (
    bootstrap_mean,
    bootstrap_means,
    paired_difference,
    resampled_means,
)
from muma.rng import derive


def test_equals_scipy_percentile_bootstrap():
    value_B = derive(1, "x").exponential(size=200)
    mine = bootstrap_mean(value_B, seed=1, n_resamples=20_000)
    peer = scipy.stats.bootstrap(
        (value_B,), np.mean, n_resamples=20_000, method="percentile", rng=derive(1, "peer")
    ).confidence_interval
    error = 0.05 * value_B.std() / np.sqrt(200)  # several Monte-Carlo errors of an end
    assert mine.value == pytest.approx(value_B.mean(), abs=1e-12)
    assert mine.low == pytest.approx(peer.low, abs=error)
    assert mine.high == pytest.approx(peer.high, abs=error)


def test_covers_the_truth_in_95_of_100_worlds():
    rng = derive(2, "worlds")
    covered = 0
    for world in range(300):
        value_B = rng.binomial(10, 0.3, size=150) / 10
        result = bootstrap_mean(value_B, seed=world, n_resamples=500)
        covered += result.low <= 0.3 <= result.high
    # 300 draws of 0.95: standard error 0.0126; the percentile interval is itself slightly narrow
    assert 0.95 - 4 * 0.0126 < covered / 300 < 0.95 + 3 * 0.0126


def test_paired_interval_is_sharper_than_unpaired():
    rng = derive(3, "pairs")
    user_B = rng.normal(size=400)
    a_B, b_B = user_B + 0.1 + rng.normal(0, 0.1, 400), user_B + rng.normal(0, 0.1, 400)
    difference = paired_difference(a_B, b_B, seed=1)
    alone = bootstrap_mean(a_B, seed=1)
    assert difference.high - difference.low < 0.3 * (alone.high - alone.low)
    assert difference.excludes(0.0)


def test_resamples_are_shared_and_do_not_depend_on_the_company():
    rng = derive(4, "shared")
    a_B, b_B = rng.random(50), rng.random(50)
    both = resampled_means(np.column_stack([a_B, b_B]), seed=9, n_resamples=100)
    delta = resampled_means((a_B - b_B)[:, None], seed=9, n_resamples=100)
    np.testing.assert_allclose(both[:, 0] - both[:, 1], delta[:, 0], atol=1e-12)
    alone = bootstrap_mean(a_B, seed=9, label="a")
    together = bootstrap_means({"a": a_B, "b": b_B}, seed=9)["a"]
    assert together.value == alone.value
    assert together.low == pytest.approx(alone.low, abs=1e-12)
    assert together.high == pytest.approx(alone.high, abs=1e-12)


def test_nan_leaves_the_user_out_of_that_metric_only():
    value_B = derive(5, "nan").random(80)
    holes_B = np.where(np.arange(80) % 4 == 0, np.nan, value_B)
    found = bootstrap_means({"full": value_B, "holes": holes_B}, seed=1)
    assert found["full"].n == 80
    assert found["holes"].n == 60
    assert found["holes"].value == pytest.approx(np.nanmean(holes_B))
    dropped = bootstrap_mean(holes_B[~np.isnan(holes_B)], seed=1, n_resamples=8000)
    joint = bootstrap_means({"full": value_B, "holes": holes_B}, seed=1, n_resamples=8000)["holes"]
    assert joint.low == pytest.approx(dropped.low, abs=0.01)
    assert joint.high == pytest.approx(dropped.high, abs=0.01)


def test_chunks_do_not_change_the_answer(monkeypatch):
    value_BM = derive(6, "chunks").random((40, 3))
    whole = resampled_means(value_BM, seed=1, n_resamples=50)
    monkeypatch.setattr("muma.evaluation.intervals._CELLS", 40 * 7)
    parts = resampled_means(value_BM, seed=1, n_resamples=50)
    np.testing.assert_allclose(whole, parts, atol=1e-12)


def test_undefined_is_nan():
    none = bootstrap_mean(np.full(3, np.nan), seed=1)
    assert (none.n, none.effective_n) == (0, 0.0)
    assert np.isnan([none.value, none.low, none.high]).all()
    one = bootstrap_mean(np.array([0.5, np.nan]), seed=1)
    assert one.value == 0.5
    assert np.isnan([one.low, one.high]).all()
    assert not one.excludes(0.0)
    assert bootstrap_means({}, seed=1) == {}


def test_refuses():
    with pytest.raises(ConfigError):
        bootstrap_mean(np.ones(3), seed=1, level=95)
    with pytest.raises(ConfigError):
        bootstrap_mean(np.ones(3), seed=1, n_resamples=0)
    with pytest.raises(DataError):
        paired_difference(np.ones(3), np.ones(2), seed=1)
    with pytest.raises(DataError):
        bootstrap_means({"a": np.ones(3), "b": np.ones(2)}, seed=1)
