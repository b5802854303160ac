"""The public suite on a family that is not MUMA's, and on what it must catch."""

import pytest

from muma.testing.feature_formulas import label, ratio
from muma.testing.feature_suite import FeatureSuite
from own_family import NOW, USUAL, Burst, Moody


class TestBurst(FeatureSuite):
    component = Burst
    blocks = {"burst": {"use": "own_family.Burst", "keys": ["user", "item", "user x category"]}}

    @staticmethod
    def formula(config, ask):
        return {
            f"{label(key)}.burst": ratio(ask.total(key, NOW, "any"), ask.total(key, USUAL, "any") / 24.0)
            for key in config.keys
        }  # fmt: skip


class TestBurstWithoutFormula(FeatureSuite):
    component = Burst
    blocks = TestBurst.blocks


class Wrong(TestBurst):
    __test__ = False

    @staticmethod
    def formula(config, ask):
        return {name: value + 1.0 for name, value in TestBurst.formula(config, ask).items()}


class Mood(FeatureSuite):
    __test__ = False
    component = Moody
    blocks = {"burst": {"use": "own_family.Moody", "keys": ["user", "item"]}}


def test_a_formula_that_disagrees_is_reported_by_column():
    with pytest.raises(AssertionError, match=r"values differ\nrow \d+, user\.burst: got"):
        Wrong().test_offline_in_a_larger_world(1)


def test_values_that_depend_on_the_batch_are_caught():
    with pytest.raises(AssertionError):
        Mood().test_the_batch_leaves_no_trace_in_values(1)
    with pytest.raises(AssertionError, match="values differ"):
        Mood().test_online_in_order(1)
