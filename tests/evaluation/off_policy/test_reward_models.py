"""Reward models against scikit-learn and closed forms; no prediction saw its own reward."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge

from muma.errors import ConfigError, DataError
from muma.evaluation.off_policy.cascade_model import cross_fit_to_end
from muma.evaluation.off_policy.logged import Logged
from muma.evaluation.off_policy.logistic_reward import LogisticReward, LogisticRewardConfig
from muma.evaluation.off_policy.per_position import PerPosition
from muma.evaluation.off_policy.reward_model import cross_fit, deal
from muma.evaluation.off_policy.ridge_reward import RidgeReward, RidgeRewardConfig
from muma.rng import derive
from muma.testing.bandit_world import BanditWorld
from muma.testing.slate_world import SlateWorld


def past(n=400, *, position=True):
    rng = derive(1, "rewards")
    logged, _, _ = BanditWorld(n_actions=4, n_features=3).log(n, rng)
    return replace(logged, position_B=rng.integers(0, 3, n) if position else None)


def columns(logged, action_B, *, features, interaction):
    """The design, written out: context, action features, action, slot, products."""
    x = logged.context_BF.astype(float)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    z = (features - features.mean(axis=0)) / features.std(axis=0)
    one = np.eye(4)[action_B]
    parts = [x, z[action_B], one, np.eye(3)[logged.position_B]]
    if interaction:
        parts.append((one[:, :, None] * x[:, None, :]).reshape(len(x), -1))
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("interaction", [False, True])
@pytest.mark.parametrize("l2", [0.3, 5.0])
def test_logistic_equals_scikit_learn(interaction, l2):
    logged, features = past(), derive(2, "features").normal(size=(4, 2))
    config = LogisticRewardConfig(l2=l2, interaction=interaction)
    found_BA = LogisticReward(config, action_AG=features).fit(logged).predict(logged)
    peer = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=5000)
    kind = {"features": features, "interaction": interaction}
    peer.fit(columns(logged, logged.action_B, **kind), logged.reward_B)
    for action in range(4):
        expected_B = peer.predict_proba(columns(logged, np.full(400, action), **kind))[:, 1]
        np.testing.assert_allclose(found_BA[:, action], expected_B, atol=2e-5)


def test_ridge_equals_scikit_learn():
    logged, features = past(), derive(2, "features").normal(size=(4, 2))
    logged = replace(logged, reward_B=10 * logged.reward_B - 3)
    found_BA = (
        RidgeReward(RidgeRewardConfig(l2=2.0), action_AG=features).fit(logged).predict(logged)
    )
    kind = {"features": features, "interaction": False}
    peer = Ridge(alpha=2.0, fit_intercept=False, solver="svd")
    mean = logged.reward_B.mean()
    peer.fit(columns(logged, logged.action_B, **kind), logged.reward_B - mean)
    for action in range(4):
        expected_B = mean + peer.predict(columns(logged, np.full(400, action), **kind))
        np.testing.assert_allclose(found_BA[:, action], expected_B, atol=1e-6)


def test_without_context_the_unpenalised_model_is_the_mean_by_action():
    logged = replace(past(position=False), context_BF=None)
    q_BA = LogisticReward(LogisticRewardConfig(l2=1e-6)).fit(logged).predict(logged)
    for action in range(4):
        mean = logged.reward_B[logged.action_B == action].mean()
        assert q_BA[0, action] == pytest.approx(mean, abs=1e-4)


def test_rates_count_as_so_many_rewards():
    logged = replace(past(position=False), context_BF=None)
    pairs = Logged(np.repeat(np.arange(2), 2), np.array([1.0, 0.0, 1.0, 1.0]), np.ones(4), 2)
    rates = Logged(np.repeat(np.arange(2), 2), np.array([0.5, 0.5, 1.0, 1.0]), np.ones(4), 2)
    model = LogisticReward(LogisticRewardConfig(l2=0.1))
    np.testing.assert_allclose(
        model.fit(pairs).predict(pairs), model.fit(rates).predict(rates), atol=1e-6
    )
    with pytest.raises(DataError, match=r"take.* \[0, 1\]: use RidgeReward"):
        model.fit(replace(logged, reward_B=2 * np.ones(400)))


@dataclass(frozen=True)
class Remembered:
    """Knows which rewards it saw: predicts their number of every value."""

    rewards: frozenset

    def predict(self, logged):
        seen_B = np.array([float(r) in self.rewards for r in logged.reward_B])
        return np.repeat(seen_B[:, None].astype(float), logged.n_actions, axis=1)


class Remembers:
    def fit(self, logged):
        return Remembered(frozenset(map(float, logged.reward_B)))


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_no_prediction_saw_its_own_reward_or_its_units(folds):
    unit_B = derive(3, "units").integers(0, 20, 200)
    # a unit's rewards are equal, so that seeing any of them shows
    logged = Logged(np.zeros(200, int), unit_B + 0.5, np.ones(200), 2, unit_B=unit_B)
    assert cross_fit(Remembers(), logged, folds=folds, seed=1).sum() == 0
    whole = cross_fit(Remembers(), replace(logged, unit_B=None), folds=folds, seed=1)
    assert whole.sum() > 0


def test_folds_are_even_dealt_by_seed_and_checked():
    logged = past()
    fold_B = deal(logged, folds=3, seed=4)
    assert np.bincount(fold_B).tolist() in ([134, 133, 133], [133, 134, 133], [133, 133, 134])
    np.testing.assert_array_equal(fold_B, deal(logged, folds=3, seed=4))
    assert (fold_B != deal(logged, folds=3, seed=5)).any()
    for folds in (0, 1, 401):
        with pytest.raises(ConfigError, match=f"folds is {folds}; allowed are 2 to 400"):
            deal(logged, folds=folds, seed=0)


@dataclass(frozen=True)
class FittedBoosting:
    trees: HistGradientBoostingClassifier

    def predict(self, logged):
        n = len(logged)
        return np.column_stack([
            self.trees.predict_proba(np.c_[logged.context_BF, np.full(n, a)])[:, 1]
            for a in range(logged.n_actions)
        ])  # fmt: skip


class Boosting:
    def fit(self, logged):
        trees = HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=5)
        return FittedBoosting(trees.fit(np.c_[logged.context_BF, logged.action_B], logged.reward_B))


def test_a_boosted_model_is_handed_in_by_protocol():
    logged = past()
    q_BA = cross_fit(Boosting(), logged, folds=2)
    assert q_BA.shape == (400, 4)
    assert ((q_BA > 0) & (q_BA < 1)).all()


def test_predictions_of_another_shape_are_refused():
    class Wrong:
        def fit(self, _):
            return self

        def predict(self, logged):
            return np.zeros(len(logged))

    with pytest.raises(DataError, match="rounds x actions"):
        cross_fit(Wrong(), past())


def test_models_say_what_they_lack():
    logged = past()
    fitted = LogisticReward().fit(logged)
    with pytest.raises(DataError, match="context has 0 features; the reward model was fitted on 3"):
        fitted.predict(replace(logged, context_BF=None))
    with pytest.raises(DataError, match="fitted with positions"):
        fitted.predict(replace(logged, position_B=None))
    with pytest.raises(DataError, match=r"allowed is \[4, G\]"):
        LogisticReward(action_AG=np.ones((3, 2))).fit(logged)
    with pytest.raises(DataError, match="NaN"):
        RidgeReward(action_AG=np.full((4, 2), np.nan)).fit(logged)
    for model in (LogisticReward(), RidgeReward()):
        with pytest.raises(DataError, match="no rounds"):
            model.fit(logged.rows(np.zeros(0, int)))
    with pytest.raises(DataError, match="position_B"):
        PerPosition(RidgeReward()).fit(replace(logged, position_B=None))


def test_a_slot_never_seen_gets_what_all_slots_share():
    logged = past()
    fitted = LogisticReward().fit(logged)
    late = replace(logged, position_B=np.full(400, 7))
    assert np.isfinite(fitted.predict(late)).all()
    per = PerPosition(LogisticReward()).fit(logged)
    whole = LogisticReward().fit(replace(logged, position_B=None))
    np.testing.assert_array_equal(
        per.predict(late), whole.predict(replace(logged, position_B=None))
    )
    here = logged.position_B == 1
    one = LogisticReward().fit(replace(logged.rows(here), position_B=None))
    np.testing.assert_array_equal(
        per.predict(logged)[here], one.predict(replace(logged.rows(here), position_B=None))
    )


def test_predictions_to_the_end_approach_the_world():
    world = SlateWorld()
    logged, target_BA = world.log(3000, derive(5, "slates"))
    model = RidgeReward(RidgeRewardConfig(interaction=True))
    q_BA = cross_fit_to_end(model, logged, target_BA)
    first_B = logged.position_B == 0
    value_B = np.einsum("ba,ba->b", target_BA[first_B], q_BA[first_B])
    assert value_B.mean() == pytest.approx(world.value, abs=0.06)
    # rewards of the last slot are rates of one slot, of the first one the answer's
    assert q_BA[first_B].mean() > 2 * q_BA[logged.position_B == 2].mean()
