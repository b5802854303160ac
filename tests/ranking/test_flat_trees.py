"""The compiled form equals the libraries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.errors import DataError
from muma.ranking.engines.lightgbm import LightGBMConfig, LightGBMEngine
from muma.ranking.engines.xgboost import XGBoostConfig, XGBoostEngine
from muma.ranking.flat_trees import flatten
from muma.ranking.ranker import Examples
from muma.ranking.trees import Tree, lightgbm_trees
from muma.rng import derive
from muma.testing.engine_suite import engine_examples

ENGINES = {
    XGBoostEngine: (XGBoostConfig, 1e-6),  # the library sums leaves in float32
    LightGBMEngine: (LightGBMConfig, 1e-12),
}


def fitted(kind, examples, **changes):
    return kind(ENGINES[kind][0](**changes)).fit(examples)


def assert_equal(engine, value_NF):
    limit = ENGINES[type(engine)][1]
    flat = flatten(*engine.trees(), len(engine.columns))
    wanted = engine.library_margin(value_NF)
    np.testing.assert_allclose(flat.margin(value_NF), wanted, rtol=limit, atol=limit)


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("objective", ["binary", "lambdarank"])
@pytest.mark.parametrize("leaves", [2, 31, 33, 64])
@pytest.mark.parametrize("categorical", [(), ("category",)])
def test_margins_equal_the_library(kind, objective, leaves, categorical):
    engine = fitted(
        kind,
        engine_examples(1),
        objective=objective,
        trees=15,
        leaves=leaves,
        categorical=categorical,
        min_hessian=0.1,
    )
    value_NF = engine_examples(2, 777).value_NF
    value_NF[:40, 2] = np.arange(40) * 7  # categories that training has not seen
    value_NF[40:50] = np.nan
    value_NF[50:60] = 0.0
    assert_equal(engine, value_NF)


@pytest.mark.parametrize("kind", ENGINES)
def test_values_on_a_threshold_and_next_to_it(kind):
    engine = fitted(kind, engine_examples(1), trees=15)
    trees, _ = engine.trees()
    threshold = np.concatenate([tree.threshold[tree.left >= 0] for tree in trees])
    value_NF = np.repeat(threshold[:, None], 4, axis=1)
    for moved_NF in (value_NF, *(np.nextafter(value_NF, np.float32(s)) for s in (-9e9, 9e9))):
        assert_equal(engine, moved_NF)


@pytest.mark.parametrize("kind", ENGINES)
def test_values_of_no_missing_feature_and_integers(kind):
    rng = derive(3, "flat")
    value_NF = rng.integers(-3, 4, (500, 3)).astype(np.float32)
    label_N = (value_NF.sum(axis=1) + rng.normal(size=500) > 0).astype(float)
    engine = fitted(kind, Examples(("a", "b", "c"), value_NF, label_N, np.arange(500)), trees=15)
    value_NF[:100] = np.nan  # nothing was missing in training
    assert_equal(engine, value_NF)


def test_more_leaves_than_bits_go_through_the_library():
    engine = fitted(LightGBMEngine, engine_examples(1, 4000), trees=2, leaves=90, min_examples=5)
    trees, base = engine.trees()
    assert max(tree.leaves for tree in trees) > 64
    with pytest.raises(DataError, match="64"):
        flatten(trees, base, 4)
    value_NF = engine_examples(2).value_NF
    np.testing.assert_array_equal(engine.margin(value_NF), engine.library_margin(value_NF))


def test_trees_without_splits():
    leaf = Tree(*(np.array([v]) for v in (-1, -1, 0, 0.0, False, 0.5, 1.0)))
    assert flatten([leaf, leaf], 1.0, 2).margin(np.zeros((2, 2), np.float32)).tolist() == [2.0, 2.0]
    assert flatten([], 1.0, 2).margin(np.zeros((1, 2), np.float32)).tolist() == [1.0]


def test_a_model_that_reads_zero_as_missing_is_refused():
    block = "x\nTree=0\nnum_leaves=2\ndecision_type=4\nleaf_value=1 2\nend of trees"
    with pytest.raises(DataError, match="zero as missing"):
        lightgbm_trees(block)


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("categorical", [(), ("category",)])
@pytest.mark.parametrize("leaves", [2, 31, 64])
def test_contributions_equal_the_library(kind, categorical, leaves):
    engine = fitted(kind, engine_examples(1), trees=15, leaves=leaves, categorical=categorical)
    value_NF = engine_examples(2, 200).value_NF
    value_NF[:10] = np.nan
    found_NF, wanted_NF = engine.contributions(value_NF), engine.library_contributions(value_NF)
    limit = 5e-6 if kind is XGBoostEngine else 1e-10  # XGBoost's own are float32
    np.testing.assert_allclose(found_NF, wanted_NF, rtol=limit, atol=limit)
    np.testing.assert_allclose(found_NF.sum(axis=1), engine.margin(value_NF), atol=1e-11)


@given(st.integers(0, 2**32), st.integers(1, 64))
@settings(max_examples=60, deadline=None)
def test_random_trees_equal_a_walk(seed, leaves):
    rng = np.random.default_rng(seed)
    tree = _random_tree(rng, leaves)
    value_NF = rng.integers(-2, 3, (20, 3)).astype(np.float32)
    value_NF[rng.random((20, 3)) < 0.3] = np.nan
    found_N = flatten([tree], 0.0, 3).margin(value_NF)
    np.testing.assert_array_equal(found_N, [_walk(tree, row) for row in value_NF])


def _random_tree(rng, leaves):
    size = 2 * leaves - 1
    left, right = np.full(size, -1), np.full(size, -1)
    open_nodes = [0]
    for step in range(leaves - 1):
        node = open_nodes.pop(rng.integers(len(open_nodes)))
        left[node], right[node] = 2 * step + 1, 2 * step + 2
        open_nodes += [2 * step + 1, 2 * step + 2]
    threshold = rng.integers(-2, 3, size).astype(np.float32)
    return Tree(
        left,
        right,
        rng.integers(0, 3, size),
        threshold,
        rng.random(size) < 0.5,
        rng.normal(size=size),
        np.ones(size),
    )


def _walk(tree, row):
    node = 0
    while tree.left[node] >= 0:
        x = row[tree.column[node]]
        goes_left = tree.missing_left[node] if np.isnan(x) else x <= tree.threshold[node]
        node = tree.left[node] if goes_left else tree.right[node]
    return tree.value[node]
