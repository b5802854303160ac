"""Both engines keep the contract, and none is left out."""

import numpy as np
import pytest
import shap
from pydantic import ValidationError

from muma.ranking.engines.base import BoostedEngine
from muma.ranking.engines.lightgbm import LightGBMConfig, LightGBMEngine
from muma.ranking.engines.xgboost import XGBoostConfig, XGBoostEngine
from muma.testing.discovery import classes_in
from muma.testing.engine_suite import EngineSuite, engine_examples


class TestXGBoost(EngineSuite):
    def make(self, **changes):
        return XGBoostEngine(XGBoostConfig(**changes))


class TestLightGBM(EngineSuite):
    def make(self, **changes):
        return LightGBMEngine(LightGBMConfig(**changes))


def test_no_engine_is_left_out():
    found = {
        cls
        for cls in classes_in("muma.ranking.engines")
        if issubclass(cls, BoostedEngine) and cls is not BoostedEngine
    }
    assert found == {type(suite().make()) for suite in (TestXGBoost, TestLightGBM)}


@pytest.mark.parametrize("suite", [TestXGBoost, TestLightGBM])
def test_contributions_equal_shap(suite):
    engine = suite().make(trees=20).fit(engine_examples(1))
    value_NF = engine_examples(2, 80).value_NF
    peer = shap.TreeExplainer(engine.booster, feature_perturbation="tree_path_dependent")
    wanted_NF = np.asarray(peer.shap_values(value_NF))
    np.testing.assert_allclose(engine.contributions(value_NF)[:, :-1], wanted_NF, atol=2e-6)


def test_pairwise_is_offered_by_xgboost_alone():
    train = engine_examples(1)
    engine = XGBoostEngine(XGBoostConfig(objective="pairwise", trees=10)).fit(train)
    assert np.ptp(engine.margin(train.value_NF)) > 0.1
    with pytest.raises(ValidationError, match="pairwise"):
        LightGBMConfig(objective="pairwise")


def test_a_feature_has_one_role():
    with pytest.raises(ValidationError, match="more than once"):
        XGBoostConfig(increasing=("a",), categorical=("a",))
