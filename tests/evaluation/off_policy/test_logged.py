"""What no estimator can use is refused, with the reason and the round."""

from dataclasses import replace

import numpy as np
import pytest

from muma.errors import ConfigError, DataError
from muma.evaluation.off_policy.estimator import view
from muma.evaluation.off_policy.evaluate import PER_ANSWER, PER_ROUND, evaluate_policy
from muma.evaluation.off_policy.ips import IPS
from muma.evaluation.off_policy.logged import Logged
from muma.evaluation.off_policy.slates import slates_of

GOOD = Logged(
    np.array([0, 1, 2, 1]), np.array([1.0, 0.0, 0.5, 0.0]), np.array([0.5, 1.0, 0.1, 0.2]), 3,
    position_B=np.array([0, 1, 0, 1]), unit_B=np.array([4, 4, 9, 9]),
    context_BF=np.ones((4, 2), np.float32), slate_B=np.array([7, 7, 8, 8]),
)  # fmt: skip
TARGET = np.tile([0.2, 0.3, 0.5], (4, 1))


def put(array, at, value):
    changed = np.array(array, dtype=float)
    changed[at] = value
    return changed


def test_a_good_log_passes():
    rounds = view(GOOD, TARGET, prediction_BA=np.zeros((4, 3)))
    np.testing.assert_allclose(rounds.weight_B, [0.4, 0.3, 5.0, 1.5])
    np.testing.assert_allclose(view(GOOD, TARGET.astype(np.float32)).weight_B, [0.4, 0.3, 5, 1.5])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reward_B": put(GOOD.reward_B, 2, np.nan)}, "reward is nan in round 2"),
        ({"reward_B": put(GOOD.reward_B, 1, np.inf)}, "reward is inf in round 1"),
        ({"propensity_B": put(GOOD.propensity_B, 3, 0.0)}, "propensity is 0.0 in round 3"),
        ({"propensity_B": put(GOOD.propensity_B, 0, 1.5)}, "propensity is 1.5 in round 0"),
        ({"propensity_B": put(GOOD.propensity_B, 0, -0.1)}, "propensity is -0.1"),
        ({"propensity_B": put(GOOD.propensity_B, 1, np.nan)}, "if none was logged, estimate"),
        ({"action_B": np.array([0, 3, 2, 1])}, "action is 3 in round 1"),
        ({"action_B": np.array([0, -1, 2, 1])}, "action is -1 in round 1"),
        ({"action_B": np.array([0.0, 1.0, 2.0, 1.0])}, "float64; allowed are integers"),
        ({"reward_B": np.zeros(3)}, r"reward_B has shape \(3,\)"),
        ({"unit_B": np.zeros((4, 1), int)}, r"unit_B has shape \(4, 1\)"),
        ({"position_B": np.array([0, -1, 0, 1])}, "position is -1"),
        ({"context_BF": np.ones(4)}, r"context_BF has shape \(4,\)"),
        ({"context_BF": np.full((4, 1), np.nan)}, "context_BF holds NaN"),
    ],
)
def test_a_bad_log_is_refused(changes, message):
    with pytest.raises(DataError, match=message):
        view(replace(GOOD, **changes), TARGET)


def test_an_empty_log_is_refused():
    empty = GOOD.rows(np.zeros(0, int))
    with pytest.raises(DataError, match="holds no rounds"):
        view(empty, TARGET[:0])
    with pytest.raises(DataError, match="holds no rounds"):
        evaluate_policy(empty, TARGET[:0])


def test_no_actions_are_refused():
    with pytest.raises(ConfigError, match="n_actions is 0"):
        view(replace(GOOD, n_actions=0), TARGET)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (TARGET[:, :2], r"shape \(4, 2\); allowed is \(4, 3\)"),
        (TARGET[:3], r"shape \(3, 3\)"),
        (put(TARGET, (1, 1), 0.4), "is 1.1 in round 1"),
        (put(TARGET, (2, 0), np.nan), "is nan in round 2"),
        (put(TARGET, (2, 0), np.inf), "is inf in round 2"),
        (np.tile([-0.2, 0.7, 0.5], (4, 1)), "target probability is -0.2 in round 0"),
        (np.tile([0, 1, 0], (4, 1)), "holds int64; allowed are float32 and float64"),
    ],
)
def test_a_bad_target_is_refused(target, message):
    with pytest.raises(DataError, match=message):
        view(GOOD, target)
    with pytest.raises(DataError, match=message):
        evaluate_policy(GOOD, target)


@pytest.mark.parametrize(
    "prediction", [np.zeros((4, 2)), put(np.zeros((4, 3)), (1, 2), np.nan), put(np.zeros((4, 3)), (0, 0), np.inf)]
)  # fmt: skip
def test_a_bad_prediction_is_refused(prediction):
    with pytest.raises(DataError, match=r"predicted rewards|prediction_BA"):
        view(GOOD, TARGET, prediction_BA=prediction)


def test_answers_are_laid_out_and_checked():
    slates = slates_of(GOOD.rows(np.array([1, 2, 0, 3])))
    assert slates.rank_B.tolist() == [1, 0, 0, 1]
    assert slates.shape == (2, 2)
    before, through = slates.products(np.array([2.0, 3.0, 5.0, 7.0]))
    assert before.tolist() == [5.0, 1.0, 1.0, 3.0]
    assert through.tolist() == [10.0, 3.0, 5.0, 21.0]
    with pytest.raises(DataError, match="two rounds in position 0"):
        slates_of(replace(GOOD, position_B=np.zeros(4, int)))
    with pytest.raises(DataError, match="several units"):
        slates_of(replace(GOOD, unit_B=np.arange(4)))


def test_kinds_of_estimators_are_not_mixed():
    with pytest.raises(ConfigError, match="no estimators"):
        evaluate_policy(GOOD, TARGET, estimators=[])
    with pytest.raises(ConfigError, match="each name may stand once"):
        evaluate_policy(GOOD, TARGET, estimators=[IPS(), IPS()])
    with pytest.raises(ConfigError, match="ask twice"):
        evaluate_policy(GOOD, TARGET, estimators=[PER_ROUND[0], PER_ANSWER[0]])
