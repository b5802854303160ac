"""What a study refuses, and its fingerprint."""

import numpy as np
import pytest

from muma.errors import DataError
from muma.evaluation.causal.study import binary, digest, study_of

X = np.array([[1.0], [2.0], [3.0]])


@pytest.mark.parametrize(
    ("treatment", "covariates", "columns", "said"),
    [
        ([0, 1, 2], X, None, "0 or 1"),
        ([0, 1, np.nan], X, None, "0 or 1"),
        ([0, 0, 0], X, None, "both groups"),
        ([True, True, True], X, None, "both groups"),
        (["a", "b", "a"], X, None, "of type"),
        ([0, 1], X, None, "must be"),
        ([0, 1, 1], X[:, 0], None, "must be"),
        ([0, 1, 1], X * [np.nan], None, "not finite in row 0"),
        ([0, 1, 1], X * [np.inf], ["pay"], "'pay' is not finite"),
        ([0, 1, 1], X, ["a", "b"], "names"),
        ([0, 1, 1], np.hstack([X, X]), ["a", "a"], "names"),
        ([0, 1, 1], np.empty((3, 0)), None, "one covariate at least"),
        ([0, 1, 1], X, ["a`b"], "backtick"),
        ([], np.empty((0, 1)), None, "empty"),
        ([0, 1], [["a"], ["b"]], None, "must be numbers"),
        ([0, 1], [[1.0], [2.0, 3.0]], None, "must be numbers"),
    ],
)
def test_refused(treatment, covariates, columns, said):
    with pytest.raises(DataError, match=said):
        study_of(np.array(treatment), covariates, columns)


def test_the_fingerprint_sees_every_part():
    first = study_of(np.array([0, 1, 1]), X, ["a"])
    assert first.fingerprint == study_of(np.array([0.0, 1.0, 1.0]), X.copy(), ["a"]).fingerprint
    others = [
        study_of(np.array([0, 0, 1]), X, ["a"]),
        study_of(np.array([0, 1, 1]), X + 1e-12, ["a"]),
        study_of(np.array([0, 1, 1]), X, ["b"]),
    ]
    assert len({s.fingerprint for s in [first, *others]}) == 4
    assert digest("ab", "c") != digest("a", "bc")
    assert digest(np.zeros((2, 3))) != digest(np.zeros((3, 2)))


def test_the_study_is_a_copy():
    x = X.copy()
    study = study_of(np.array([0, 1, 1]), x)
    x[0] = 99
    assert study.covariate_NF[0, 0] == 1
    assert study.columns == ("x0",)


def test_booleans_are_binary():
    assert binary(np.array([True, False]), "t").tolist() == [True, False]
