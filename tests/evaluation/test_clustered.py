"""The cluster bootstrap: against plain AUC, repeated rows, and a world of known spread."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from muma.errors import DataError
from muma.evaluation.clustered import clustered, weighted_auc, weighted_log_loss


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 3)), min_size=2))
def test_weighted_auc_is_that_of_repeated_rows(rows):
    label, score, weight = (np.array(column) for column in zip(*rows, strict=True))
    found = weighted_auc(label.astype(float), score.astype(float))(weight.astype(float))
    many, scores = np.repeat(label, weight), np.repeat(score, weight)
    if len(set(many.tolist())) < 2:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(roc_auc_score(many, scores), abs=1e-12)


@given(st.lists(st.tuples(st.booleans(), st.floats(0.01, 0.99), st.integers(1, 3)), min_size=1))
def test_weighted_log_loss_is_sklearns(rows):
    label, p, weight = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    found = weighted_log_loss(label, p)(weight)
    wanted = sklearn_log_loss(label, p, sample_weight=weight, labels=[0, 1])
    assert found == pytest.approx(wanted, abs=1e-12)


def world(seed, users=150):
    """Rows of users who differ: rows of one user are alike."""
    rng = np.random.default_rng(seed)
    user_N = np.repeat(np.arange(users), 8)
    taste_N = rng.normal(size=users)[user_N]
    score_N = taste_N + rng.normal(size=len(user_N))
    label_N = (taste_N + rng.normal(size=len(user_N)) > 0).astype(float)
    return user_N, label_N, score_N


def test_intervals_are_as_wide_as_the_spread_over_worlds():
    truth = [weighted_auc(y, s)(np.ones(len(y))) for _, y, s in map(world, range(1_000, 1_200))]
    user_N, label_N, score_N = world(1)
    found = clustered({"a": weighted_auc(label_N, score_N)}, user_N, seed=1, n_resamples=400)["a"]
    width = found.high - found.low
    assert width == pytest.approx(2 * 1.96 * np.std(truth), rel=0.25)
    rows = clustered(
        {"a": weighted_auc(label_N, score_N)}, np.arange(len(user_N)), seed=1, n_resamples=400
    )["a"]
    assert rows.high - rows.low < 0.8 * width, "rows taken for independent look too certain"


def test_differences_are_paired():
    user_N, label_N, score_N = world(2)
    noise = np.random.default_rng(3).normal(size=len(score_N))
    metrics = {
        "same": weighted_auc(label_N, 2 * score_N),
        "base": weighted_auc(label_N, score_N),
        "worse": weighted_auc(label_N, noise),
    }
    found = clustered(metrics, user_N, baseline="base", seed=1, n_resamples=200)
    assert set(found) == {"same", "worse"}
    assert (found["same"].low, found["same"].value, found["same"].high) == (0, 0, 0)
    assert found["worse"].high < 0
    assert found["worse"].n == 150


def test_errors():
    nothing = np.array([], dtype=np.int64)
    with pytest.raises(DataError, match="no rows"):
        clustered({"a": lambda _: 0.0}, nothing, seed=1)
    with pytest.raises(DataError, match="not among"):
        clustered({"a": lambda _: 0.0}, np.array([1]), baseline="b", seed=1)
    with pytest.raises(DataError, match="NaN"):
        weighted_auc(np.array([0, 1]), np.array([0.0, np.nan]))
