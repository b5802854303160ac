"""Backward selection recovers a planted set by least squares, and refuses what does not fit."""

import numpy as np
import pytest

from muma.errors import ConfigError, DataError
from muma.ranking.engines.lightgbm import LightGBMConfig, LightGBMEngine
from muma.ranking.ranker import Examples
from muma.ranking.selection import SelectionConfig, select_backward

COLUMNS = tuple(f"x{f}" for f in range(10))
TRUE = {"x1": 2.0, "x4": -1.5, "x7": 1.0}


def least_squares(seed, n=300):
    """`fit` of a linear model whose exact attributions are w (x - mean); a list is 5 rows."""
    rng = np.random.default_rng(seed)
    train, valid = rng.normal(size=(2, n, len(COLUMNS)))
    weight_F = np.array([TRUE.get(name, 0.0) for name in COLUMNS])
    y, y_valid = (x @ weight_F + rng.normal(size=n) for x in (train, valid))

    def fit(columns):
        at = [COLUMNS.index(name) for name in columns]
        w = np.linalg.lstsq(train[:, at], y, rcond=None)[0]
        loss_N = (y_valid - valid[:, at] @ w) ** 2
        return (train[:, at] - train[:, at].mean(axis=0)) * w, loss_N.reshape(-1, 5).mean(axis=1)

    return fit


@pytest.mark.parametrize("seed", range(8))
def test_the_planted_set_is_found(seed):
    found = select_backward(least_squares(seed), COLUMNS, SelectionConfig(drop=0.1))
    assert set(found.chosen.columns) == set(TRUE)
    assert found.chosen.columns == ("x1", "x4", "x7")
    assert [len(step.columns) for step in found.curve] == list(range(10, 0, -1))


def test_the_choice_is_the_smallest_within_one_error_of_the_best():
    found = select_backward(least_squares(1), COLUMNS)
    bound = found.best.loss + found.best.error
    assert found.best.loss == min(step.loss for step in found.curve)
    assert found.chosen.loss <= bound
    assert all(s.loss > bound for s in found.curve if len(s.columns) < len(found.chosen.columns))
    for step in found.curve:
        assert step.low < step.loss < step.high
        assert step.high - step.low == pytest.approx(2 * 1.96 * step.error, rel=0.2)


def test_steps_keep_the_most_important_and_stop():
    asked = []

    def fit(columns):
        asked.append(columns)
        size = np.array([10.0 - int(name[1:]) for name in columns])
        return np.vstack([size, -size]), np.ones(3)

    found = select_backward(fit, COLUMNS[::-1], SelectionConfig(drop=0.5, least=2))
    assert asked == [COLUMNS[::-1], COLUMNS[:5], COLUMNS[:3], COLUMNS[:2]]
    assert found.chosen.columns == COLUMNS[:2]
    assert found.curve[0].importance == tuple(np.arange(10.0, 0.0, -1.0))


def test_one_list_has_no_interval():
    found = select_backward(lambda c: (np.ones((2, len(c))), np.ones(1)), ("a", "b"))
    assert np.isnan([found.best.error, found.best.low, found.best.high]).all()


def test_equal_seeds_give_equal_curves():
    assert select_backward(least_squares(2), COLUMNS) == select_backward(least_squares(2), COLUMNS)


def test_wrong_columns_and_fits_are_refused():
    for columns in ((), ("a", "a")):
        with pytest.raises(ConfigError, match="at least 1, each once"):
            select_backward(lambda c: (np.ones((2, len(c))), np.ones(2)), columns)
    wrong = [
        lambda c: (np.ones((2, len(c) + 1)), np.ones(2)),
        lambda c: (np.ones((0, len(c))), np.ones(2)),
        lambda c: (np.ones((2, len(c))), np.ones(0)),
        lambda c: (np.ones((2, len(c))), np.ones(len(c))),
        lambda c: (np.ones((2, len(c))), np.full(2, np.nan)),
    ]
    for fit in wrong:
        with pytest.raises(DataError, match="fit returned"):
            select_backward(fit, ("a", "b"))


def test_an_engine_keeps_the_planted_features_and_loses_nothing():
    rng = np.random.default_rng(4)
    value_NF = rng.normal(size=(6000, 10)).astype(np.float32)
    margin_N = value_NF @ np.array([TRUE.get(name, 0.0) for name in COLUMNS])
    label_N = (rng.random(6000) < 1 / (1 + np.exp(-margin_N))).astype(float)
    whole = Examples(COLUMNS, value_NF, label_N, np.arange(6000) // 10)
    train, valid = whole.rows(np.arange(3000)), whole.rows(np.arange(3000, 6000))

    def fit(columns):
        config = LightGBMConfig(trees=40, leaves=8)
        engine = LightGBMEngine(config).fit(train.only(columns))
        m_N = engine.margin(valid.only(columns).value_NF)
        loss_N = np.logaddexp(0.0, m_N) - valid.label_N * m_N
        phi_NF = engine.contributions(train.only(columns).value_NF[:500])
        return phi_NF[:, :-1], loss_N.reshape(-1, 10).mean(axis=1)

    found = select_backward(fit, COLUMNS)
    assert set(found.chosen.columns) == set(TRUE)
    assert found.chosen.loss <= found.curve[0].loss + found.best.error
