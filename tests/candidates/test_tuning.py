"""The weight search finds the best setting, and says when there is none."""

import itertools
import math
import sys

import numpy as np
import pytest

from muma.candidates.als import ALS
from muma.candidates.blend import Blend
from muma.candidates.tuning import tune
from muma.errors import ConfigError, DataError, MissingExtraError
from muma.testing.logs import random_log

GRID = {"a": [0, 0.1, 0.5, 1], "b": [0, 0.2, 0.4], "c": [0, 1]}


def smooth(weights):
    return -((weights["a"] - 0.4) ** 2) - (weights["b"] - 0.3) ** 2 + 0.1 * weights["c"]


def test_exhaustive_search_equals_brute_force():
    settings = [dict(zip(GRID, v, strict=True)) for v in itertools.product(*GRID.values())]
    best = max((s for s in settings if any(s.values())), key=smooth)
    found = tune(GRID, smooth)
    assert (found.weights, found.value, found.tried) == (best, smooth(best), len(settings) - 1)


def test_climbing_reaches_the_top_of_a_separable_hill():
    found = tune(GRID, smooth, max_settings=5)
    assert found.weights == tune(GRID, smooth).weights
    assert found.tried < 23


def test_ties_keep_the_earlier_setting_and_nan_never_wins():
    assert tune({"a": [1, 2, 3]}, lambda _: 0.0).weights == {"a": 1}
    best = tune({"a": [1, 2, 3]}, lambda w: math.nan if w["a"] == 1 else -w["a"])
    assert best.weights == {"a": 2}


@pytest.mark.parametrize("grid", [{}, {"a": []}, {"a": [0]}])
def test_grids_without_a_setting_are_refused(grid):
    with pytest.raises(ConfigError):
        tune(grid, lambda _: 1.0)


def test_undefined_everywhere_is_an_error():
    with pytest.raises(ConfigError, match="number"):
        tune({"a": [1]}, lambda _: math.nan)
    with pytest.raises(ConfigError, match="number"):
        tune({"a": [1, 2]}, lambda _: math.nan, max_settings=1)


def test_a_blend_that_remembers_answers_as_before():
    log = random_log(3, 30, 20, 400)
    blend = Blend().fit(log)
    users = np.array([2, 5, 11, 29])
    quick = blend.remember(users)
    for weights in ({"markov": 1.0, "ease": 0.0}, {"markov": 0.2, "popularity": 3.0}):
        wanted = blend.with_weights(weights).propose(users, 7)
        found = quick.with_weights(weights).propose(users, 7)
        np.testing.assert_array_equal(found.item_BN, wanted.item_BN)
        for name, score in wanted.scores.items():
            np.testing.assert_array_equal(found.scores[name], score)
    with pytest.raises(DataError, match="remembers the scores of other users"):
        quick.propose(np.array([3]), 7)
    assert blend.remember(users, max_cells=1) is blend


def test_a_missing_library_shows_when_the_model_is_built(monkeypatch):
    monkeypatch.setitem(sys.modules, "implicit", None)
    with pytest.raises(MissingExtraError, match=r"muma\[mf\]"):
        ALS()
