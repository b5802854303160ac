import numpy as np
import pytest
import sklearn.metrics

from muma.errors import DataError
from muma.evaluation.metric import PointwiseMetric
from muma.evaluation.metrics.auc import AUC, auc, grouped_auc
from muma.evaluation.metrics.calibration import (
    CalibrationConfig,
    CalibrationError,
    calibration_error,
    reliability,
)
from muma.evaluation.metrics.log_loss import LogLoss, log_loss
from muma.rng import derive


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("levels", [2, 5, 10**9])
def test_auc_equals_sklearn(seed, levels):
    rng = derive(seed, "auc", levels)
    label_N = rng.integers(0, 2, 300)
    score_N = rng.integers(0, levels, 300) - 3.0
    wanted = sklearn.metrics.roc_auc_score(label_N, score_N)
    assert auc(label_N, score_N) == pytest.approx(wanted, abs=1e-12)


def test_grouped_auc_equals_sklearn_in_each_group():
    rng = derive(1, "gauc")
    group_N, label_N = rng.integers(0, 60, 400) * 3, rng.integers(0, 2, 400)
    score_N = rng.integers(0, 6, 400).astype(np.float32)
    groups, value_G = grouped_auc(label_N, score_N, group_N)
    assert groups.tolist() == sorted(set(group_N.tolist()))
    for group, value in zip(groups, value_G, strict=True):
        here = group_N == group
        if len(set(label_N[here].tolist())) == 1:
            assert np.isnan(value)
        else:
            wanted = sklearn.metrics.roc_auc_score(label_N[here], score_N[here])
            assert value == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_loss_equals_sklearn_with_clipping(dtype):
    rng = derive(2, "ll")
    label_N = rng.integers(0, 2, 200)
    probability_N = np.clip(rng.normal(0.5, 0.5, 200), 0, 1).astype(dtype)
    assert {0.0, 1.0} <= set(probability_N.tolist())
    wanted = sklearn.metrics.log_loss(label_N, probability_N)
    rel = 1e-12 if dtype is np.float64 else 1e-6
    assert log_loss(label_N, probability_N) == pytest.approx(wanted, rel=rel)


@pytest.mark.parametrize("bins", ["width", "mass"])
def test_calibration_by_hand(bins):
    rng = derive(3, "ece", bins)
    probability_N = rng.beta(2, 5, 500)
    label_N = (rng.random(500) < probability_N**2).astype(int)
    if bins == "width":
        parts = [
            np.flatnonzero((probability_N >= b / 10) & (probability_N < (b + 1) / 10))
            for b in range(10)
        ]
    else:
        parts = np.array_split(np.argsort(probability_N), 10)
    wanted = sum(
        len(part) / 500 * abs(label_N[part].mean() - probability_N[part].mean())
        for part in parts
        if len(part)
    )
    got = calibration_error(label_N, probability_N, n_bins=10, bins=bins)
    assert got == pytest.approx(wanted, abs=1e-12)


def test_equal_mass_bins_never_split_a_value():
    table = reliability(np.array([0, 1, 0, 1, 1]), np.full(5, 0.3), n_bins=3, bins="mass")
    assert sorted(table.count_M.tolist()) == [0, 0, 5]


def test_calibrated_predictions_have_a_small_error():
    rng = derive(4, "ece")
    probability_N = rng.random(100_000)
    label_N = rng.random(100_000) < probability_N
    for bins in ("width", "mass"):
        config = CalibrationConfig(bins=bins)
        assert CalibrationError(config).pointwise(label_N, probability_N) < 0.01


def test_undefined_is_nan():
    nothing = np.array([])
    assert np.isnan(auc(np.array([1, 1]), np.array([0.1, 0.2])))
    assert np.isnan(auc(nothing, nothing))
    assert np.isnan(log_loss(nothing, nothing))
    assert np.isnan(calibration_error(nothing, nothing))
    assert np.isnan(calibration_error(nothing, nothing, bins="mass"))


@pytest.mark.parametrize("metric", [AUC(), LogLoss(), CalibrationError()])
def test_refuses(metric):
    assert isinstance(metric, PointwiseMetric)
    with pytest.raises(DataError, match="neither 0 nor 1"):
        metric.pointwise(np.array([0, 2]), np.array([0.1, 0.2]))
    with pytest.raises(DataError, match="must be equal"):
        metric.pointwise(np.array([0]), np.array([0.1, 0.2]))
    with pytest.raises(DataError, match="NaN"):
        metric.pointwise(np.array([0, 1]), np.array([0.1, np.nan]))
    if not isinstance(metric, AUC):
        with pytest.raises(DataError, match="outside"):
            metric.pointwise(np.array([0, 1]), np.array([0.1, 1.5]))
