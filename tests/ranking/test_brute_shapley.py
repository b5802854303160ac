"""Eq. (21), enumerated over all subsets, against the engines' own contributions and shap.

The value of a subset S is what the trees expect when only the features in S are known: a split on a
known feature is followed, one on an unknown feature is averaged by the cover of its children
(Lundberg, Erion and Lee, 2018, algorithm 1). Trees are read from the libraries' JSON dumps.
"""

import json
import math
from dataclasses import dataclass
from itertools import combinations

import lightgbm
import numpy as np
import pytest
import xgboost

from muma.ranking.engines.lightgbm import LightGBMEngine
from muma.ranking.engines.xgboost import XGBoostEngine
from muma.ranking.pair import Pair, PairConfig
from muma.ranking.ranker import Examples

F = 6
XGBOOST, LIGHTGBM = 1e-6, 1e-10
"""XGBoost adds up contributions in float32; LightGBM in float64."""

QUIET = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning", "ignore:LightGBM binary")


@dataclass
class Node:
    """A split that knows where a row goes, or a leaf."""

    cover: float
    leaf: float = 0.0
    feature: int = -1
    goes_left: object = None
    left: "Node | None" = None
    right: "Node | None" = None


def of_xgboost(node):
    if "leaf" in node:
        return Node(node["cover"], leaf=node["leaf"])
    children = {child["nodeid"]: of_xgboost(child) for child in node["children"]}
    bound, missing_left = np.float32(node["split_condition"]), node["missing"] == node["yes"]

    def goes_left(x):
        return missing_left if math.isnan(x) else np.float32(x) < bound

    return Node(node["cover"], 0.0, int(node["split"][1:]), goes_left, children[node["yes"]],
                children[node["no"]])  # fmt: skip


def of_lightgbm(node):
    if "leaf_value" in node:
        return Node(node["leaf_count"], leaf=node["leaf_value"])
    bound, default_left, missing = node["threshold"], node["default_left"], node["missing_type"]

    def goes_left(x):
        if math.isnan(x):
            return default_left if missing == "NaN" else bound >= 0.0
        return x <= bound

    return Node(node["internal_count"], 0.0, node["split_feature"], goes_left,
                of_lightgbm(node["left_child"]), of_lightgbm(node["right_child"]))  # fmt: skip


def expected(node, x, known):
    if node.left is None:
        return node.leaf
    if node.feature in known:
        return expected(node.left if node.goes_left(x[node.feature]) else node.right, x, known)
    left, right = expected(node.left, x, known), expected(node.right, x, known)
    return (node.left.cover * left + node.right.cover * right) / (
        node.left.cover + node.right.cover
    )


def brute(trees, x, base=0.0):
    """Eq. (21): every feature's marginal value over every subset, and the empty subset's value."""
    value = {
        known: sum(expected(tree, x, known) for tree in trees)
        for size in range(F + 1)
        for known in map(frozenset, combinations(range(F), size))
    }
    phi = np.zeros(F + 1)
    for known, v in value.items():
        n = len(known)
        for f in set(range(F)) - known:
            weight = math.factorial(n) * math.factorial(F - n - 1) / math.factorial(F)
            phi[f] += weight * (value[known | {f}] - v)
    phi[F] = base + value[frozenset()]
    return phi


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(400, F)).astype(np.float32)
    x[:, 1] = np.round(x[:, 1])
    x[:, 2] = x[:, 0] + 0.3 * x[:, 2]
    x[rng.random(x.shape) < 0.1] = np.nan
    margin = np.nan_to_num(x[:, 0] * x[:, 1] + x[:, 2] - 0.5 * x[:, 3])
    return x, (rng.random(400) < 1 / (1 + np.exp(-margin))).astype(float), x[:12]


def shap_values(model, rows):
    import shap

    explainer = shap.TreeExplainer(model)
    found = np.asarray(explainer.shap_values(rows))
    base = np.full((len(rows), 1), np.ravel(explainer.expected_value)[-1])
    return np.hstack([found, base])


@pytest.fixture(scope="module")
def in_xgboost(world):
    x, y, rows = world
    parameters = {"objective": "binary:logistic", "max_depth": 3, "eta": 0.5, "nthread": 1,
                  "base_score": 0.5}  # fmt: skip
    booster = xgboost.train(parameters, xgboost.DMatrix(x, y), num_boost_round=5)
    dump = booster.get_dump(dump_format="json", with_stats=True)
    trees = [of_xgboost(json.loads(text)) for text in dump]
    return booster, np.array([brute(trees, row) for row in rows])


@pytest.fixture(scope="module")
def in_lightgbm(world):
    x, y, rows = world
    parameters = {"objective": "binary", "num_leaves": 6, "learning_rate": 0.5, "verbose": -1,
                  "num_threads": 1, "seed": 1, "min_data_in_leaf": 10}  # fmt: skip
    booster = lightgbm.train(parameters, lightgbm.Dataset(x, y), num_boost_round=5)
    dump = booster.dump_model()["tree_info"]
    trees = [of_lightgbm(tree["tree_structure"]) for tree in dump]
    return booster, np.array([brute(trees, row.astype(float)) for row in rows])


def test_brute_force_is_locally_accurate(world, in_xgboost, in_lightgbm):
    rows = world[2]
    margin = in_xgboost[0].predict(xgboost.DMatrix(rows), output_margin=True)
    np.testing.assert_allclose(in_xgboost[1].sum(axis=1), margin, atol=XGBOOST)
    margin = np.asarray(in_lightgbm[0].predict(rows, raw_score=True))
    np.testing.assert_allclose(in_lightgbm[1].sum(axis=1), margin, atol=LIGHTGBM)


def test_xgboost_contributions_are_eq_21(world, in_xgboost):
    booster, found = in_xgboost
    own = booster.predict(xgboost.DMatrix(world[2]), pred_contribs=True)
    np.testing.assert_allclose(own, found, atol=XGBOOST)
    assert (np.abs(found[:, :F]).max(axis=0) > 0.01).sum() >= 4


def test_lightgbm_contributions_are_eq_21(world, in_lightgbm):
    booster, found = in_lightgbm
    own = booster.predict(world[2], pred_contrib=True)
    np.testing.assert_allclose(own, found, atol=LIGHTGBM)
    assert (np.abs(found[:, :F]).max(axis=0) > 0.01).sum() >= 4


@QUIET
def test_shap_agrees_on_xgboost(world, in_xgboost):
    np.testing.assert_allclose(shap_values(in_xgboost[0], world[2]), in_xgboost[1], atol=XGBOOST)


@QUIET
def test_shap_agrees_on_lightgbm(world, in_lightgbm):
    np.testing.assert_allclose(shap_values(in_lightgbm[0], world[2]), in_lightgbm[1], atol=1e-6)


@pytest.fixture(scope="module")
def pair(world):
    """A fitted pair of small engines, alpha given so that both speak."""
    x, y, _ = world
    examples = Examples(tuple(f"c{f}" for f in range(F)), x, y, np.arange(len(y)) // 5)
    small = {"trees": 5, "leaves": 6, "learning_rate": 0.5}
    engines = {
        "first": {"use": "muma.ranking.engines.xgboost.XGBoostEngine", **small},
        "second": {"use": "muma.ranking.engines.lightgbm.LightGBMEngine", **small},
    }
    config = PairConfig.model_validate({**engines, "alpha": 0.4, "resamples": 0})
    rows = [np.arange(0, 300), np.arange(300, 350), np.arange(350, 400)]
    return Pair(config).fit(*(examples.rows(keep) for keep in rows))


def brute_engine(engine, rows):
    """Eq. (21) on the trees of a fitted engine; the intercept is what the trees leave over."""
    if isinstance(engine, XGBoostEngine):
        dump = engine.booster.get_dump(dump_format="json", with_stats=True)
        trees = [of_xgboost(json.loads(text)) for text in dump]
    else:
        assert isinstance(engine, LightGBMEngine)
        dump = engine.booster.dump_model()["tree_info"]
        trees = [of_lightgbm(tree["tree_structure"]) for tree in dump]
    whole = frozenset(range(F))
    rows = [row.astype(float) for row in rows]
    summed = np.array([sum(expected(tree, row, whole) for tree in trees) for row in rows])
    left = engine.margin(np.array(rows, np.float32)) - summed
    assert np.ptp(left) < XGBOOST
    return np.array([brute(trees, row, left.mean()) for row in rows])


def test_engines_and_their_pair_are_eq_21(world, pair):
    rows = world[2]
    first, second = (brute_engine(engine, rows) for engine in (pair.first, pair.second))
    np.testing.assert_allclose(pair.first.contributions(rows), first, atol=XGBOOST)
    np.testing.assert_allclose(pair.second.contributions(rows), second, atol=1e-9)
    slopes = pair.report().first.slope, pair.report().second.slope
    both = 0.4 * slopes[0] * first + 0.6 * slopes[1] * second
    np.testing.assert_allclose(pair.contributions(rows)[:, :F], both[:, :F], atol=XGBOOST)
