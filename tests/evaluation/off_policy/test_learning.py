"""Learned policies: gradients by finite differences, gains by the truth of a simulated world."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from muma import artifact
from muma.errors import ArtifactError, ConfigError, DataError
from muma.evaluation.off_policy.doubly_robust import DoublyRobust
from muma.evaluation.off_policy.estimator import Terms, view
from muma.evaluation.off_policy.ips import IPS
from muma.evaluation.off_policy.learning.judgement import best_constant, judge_learning
from muma.evaluation.off_policy.learning.learn import LearnConfig, climb, learn_policy, maximise
from muma.evaluation.off_policy.learning.objective import Objective
from muma.evaluation.off_policy.learning.softmax import LinearSoftmax
from muma.evaluation.off_policy.logged import Logged
from muma.evaluation.off_policy.logistic_reward import LogisticReward
from muma.evaluation.off_policy.paired import paired_gain
from muma.evaluation.off_policy.snips import SNIPS
from muma.rng import derive
from muma.testing.choice_world import ChoiceWorld

WORLD = ChoiceWorld(seed=3)
QUICK = LearnConfig(variances=(0.0, 0.5), l2s=(1e-3, 1e-2), iterations=60)


def truth(policy_BA, world=WORLD):
    return float((policy_BA * world.chance(world.contexts(len(policy_BA)))).sum(axis=1).mean())


@pytest.fixture(scope="module")
def log():
    return WORLD.log(6000, derive(1, "log"))


@pytest.mark.parametrize("kind", ["ips", "snips", "dr"])
@pytest.mark.parametrize("variance", [0.0, 1.5])
@pytest.mark.parametrize("clip", [None, 2.0])
@pytest.mark.parametrize("explore", [0.0, 0.1])
def test_gradients_equal_finite_differences(kind, variance, clip, explore):
    log = WORLD.log(150, derive(2, "gradient"))
    rng = derive(3, "gradient")
    model_BA = rng.random((150, 6))
    objective = Objective(log, kind, variance=variance, clip=clip, model_BA=model_BA)
    start = LinearSoftmax.uniform(
        action_AD=rng.normal(size=(6, 4)), context_BF=log.context_BF, floor=explore / 6
    )
    weight = rng.normal(size=start.weight_GD.shape) * 0.5

    def value(weight_GD):
        policy = LinearSoftmax(weight_GD, start.action_AD, start.mean_F, start.scale_F, start.floor)
        return climb(objective, policy, log.context_BF)

    _, slope = value(weight)
    step = 1e-6
    for place in np.ndindex(weight.shape):
        up, down = weight.copy(), weight.copy()
        up[place] += step
        down[place] -= step
        central = (value(up)[0] - value(down)[0]) / (2 * step)
        assert slope[place] == pytest.approx(central, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("kind", ["ips", "snips", "dr"])
def test_the_objective_is_the_estimate_less_standard_errors(kind, log):
    """An independent route: the terms of the estimators and the interval over rounds."""
    target_BA = np.full((len(log), 6), 1 / 6)
    model_BA = np.linspace(0, 1, 6)[None, :].repeat(len(log), 0)
    terms = {"ips": IPS(), "snips": SNIPS(), "dr": DoublyRobust()}[kind].terms(
        view(log, target_BA, prediction_BA=model_BA)
    )
    found = Objective(log, kind, variance=2.0, model_BA=model_BA).value(target_BA)
    estimate = paired_gain(terms, None, None, level=0.95)
    error = (estimate.high - estimate.value) / t.ppf(0.975, len(log) - 1)
    assert found == pytest.approx(estimate.value - 2 * error, rel=1e-4)


def test_learning_approaches_the_best_policy_there_is(log):
    """True values: logging .379, best constant .414, best of all .559; learned .53 to .54."""
    contexts = WORLD.contexts()
    chance_BA = WORLD.chance(contexts)
    best, constant = chance_BA.max(axis=1).mean(), chance_BA.mean(axis=0).max()
    logging = truth(WORLD.logging(contexts))
    for config in (QUICK, QUICK.model_copy(update={"kind": "dr"})):
        learned = learn_policy(log, config, reward_model=LogisticReward(), seed=1)
        value = truth(learned.policy.probabilities(contexts))
        assert value > max(logging, constant)
        assert (value - logging) / (best - logging) > 0.85
        assert len(learned.trials) == 4
        assert learned.best.value == max(trial.value for trial in learned.trials)


@pytest.mark.parametrize("estimator", [SNIPS(), DoublyRobust()])
def test_the_judged_gain_is_above_zero_and_true(log, estimator):
    found = judge_learning(
        log, QUICK, estimator=estimator, reward_model=LogisticReward(), folds=3, seed=1
    )
    contexts = WORLD.contexts()
    logging = truth(WORLD.logging(contexts))
    learned = np.mean([truth(one.policy.probabilities(contexts)) for one in found.learned_K])
    assert found.over_logging.low > 0
    assert found.over_constant.low > 0
    assert found.over_logging.low < learned - logging < found.over_logging.high
    assert found.logging.value == pytest.approx(log.reward_B.mean())
    assert found.value.value - found.logging.value == pytest.approx(found.over_logging.value)
    assert np.allclose(found.target_BA.sum(axis=1), 1)


def test_no_gain_is_claimed_where_rewards_are_noise():
    """Contexts and actions tell nothing: judged on its own rounds a policy seems to gain, held out not."""
    hits = 0
    world = ChoiceWorld(sharpness=0.0, seed=4)
    for seed in range(12):
        log = world.log(800, derive(seed, "noise"))
        rng = derive(seed, "coin")
        log = Logged(
            log.action_B, (rng.random(800) < 0.3).astype(float), log.propensity_B, 6,
            context_BF=log.context_BF,
        )  # fmt: skip
        config = LearnConfig(variances=(0.0,), l2s=(1e-3,), iterations=30)
        found = judge_learning(log, config, estimator=SNIPS(), folds=3, seed=seed)
        own = learn_policy(log, config, seed=seed).policy.probabilities(log.context_BF)
        seeming = paired_gain(
            SNIPS().terms(view(log, own)), Terms(log.reward_B), None, label="on its own rounds"
        )
        assert seeming.low > 0
        hits += found.over_logging.low > 0
    assert hits <= 2


def test_variance_regularisation_makes_the_estimate_steadier(log):
    start = LinearSoftmax.uniform(action_AD=np.eye(6), context_BF=log.context_BF)
    spread, weight = [], []
    for variance in (0.0, 2.0, 8.0):
        objective = Objective(log, "ips", variance=variance)
        policy = maximise(objective, start, log, l2=1e-4, iterations=200)
        rounds = view(log, policy.probabilities(log.context_BF))
        spread.append(IPS().terms(rounds).numerator_B.var())
        weight.append((rounds.weight_B**2).mean())
    assert spread[0] > spread[1] > spread[2]
    assert weight[0] > weight[2]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), shift=st.floats(-5, 5))
def test_snips_is_unmoved_by_a_constant_in_the_rewards(seed, shift):
    log = WORLD.log(60, derive(seed, "shift"))
    moved = Logged(log.action_B, log.reward_B + shift, log.propensity_B, 6)
    target = derive(seed, "target").dirichlet(np.ones(6), 60)
    one = Objective(log, "snips", variance=1.0).gradient(target)
    other = Objective(moved, "snips", variance=1.0).gradient(target)
    assert other[0] - shift == pytest.approx(one[0], abs=1e-9)
    assert np.allclose(one[1], other[1], atol=1e-9)


def test_action_features_speak_for_actions_that_were_never_shown():
    """Two kinds of actions, liked by two kinds of users; the last of each kind is new."""
    rng = derive(5, "kinds")
    action_B, kind_A, taste_B = (
        rng.integers(0, 8, 3000),
        np.arange(10) % 2,
        rng.integers(0, 2, 3000),
    )
    reward_B = (rng.random(3000) < np.where(kind_A[action_B] == taste_B, 0.6, 0.4)).astype(float)
    context_BF = taste_B[:, None].astype(np.float32)
    log = Logged(action_B, reward_B, np.full(3000, 1 / 8), 10, context_BF=context_BF)
    policy = learn_policy(log, action_AD=np.eye(2)[kind_A], seed=1).policy
    for taste in (0, 1):
        (target_A,) = policy.probabilities(np.array([[float(taste)]]))
        assert target_A[kind_A == taste].sum() > 0.9
        assert target_A[8 + taste] == pytest.approx(target_A[taste])
    (target_A,) = learn_policy(log, seed=1).policy.probabilities(np.array([[1.0]]))
    assert target_A[8:].tolist() == [0.0, 0.0]


def test_a_policy_comes_back_as_it_was_saved(tmp_path, log):
    policy = learn_policy(log, QUICK.model_copy(update={"explore": 0.12}), seed=1).policy
    with artifact.write(tmp_path / "policy", kind="policy", version=1) as writer:
        policy.save(writer)
    stored = artifact.read(tmp_path / "policy", kind="policy", version=1)
    again = LinearSoftmax.load(stored)
    target_BA = policy.probabilities(log.context_BF)
    assert np.array_equal(again.probabilities(log.context_BF), target_BA)
    assert target_BA.min() >= 0.02
    assert np.array_equal(again.known_A, policy.known_A)
    with artifact.write(tmp_path / "empty", kind="policy", version=1):
        pass
    with pytest.raises(ArtifactError, match="lists no file"):
        LinearSoftmax.load(artifact.read(tmp_path / "empty", kind="policy", version=1))


def test_learning_is_reproducible(log):
    one = learn_policy(log, QUICK, seed=1)
    assert np.array_equal(one.policy.weight_GD, learn_policy(log, QUICK, seed=1).policy.weight_GD)


def test_a_constant_context_and_constant_rewards_are_no_trouble():
    log = Logged(
        np.array([0, 1, 2] * 20), np.full(60, 0.5), np.full(60, 1 / 3), 3,
        context_BF=np.ones((60, 1), np.float32),
    )  # fmt: skip
    target = learn_policy(log, seed=1).policy.probabilities(log.context_BF)
    assert np.allclose(target, 1 / 3, atol=1e-3)


def test_best_constant_is_cautious():
    """One lucky round of a rare action against a well-known good one."""
    action_B = np.array([0] * 200 + [1] * 200 + [2])
    reward_B = np.array([0.0] * 200 + [1.0, 0.0, 1.0, 1.0] * 50 + [1.0])
    propensity_B = np.full(401, 0.3)
    log = Logged(action_B, reward_B, propensity_B, 4)
    assert best_constant(log.rows(np.arange(400)), caution=1.0) == 1
    assert best_constant(log, caution=0.0) == 2
    assert best_constant(log, caution=1.0) == 1  # whose rewards vary, as those of one round cannot
    below = replace(log, reward_B=reward_B * 12 - 3)
    assert best_constant(below, caution=1.0) == 1  # in any unit


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda log: Objective(log, "mrdr"), ConfigError, "allowed are ips, snips, dr"),
        (lambda log: Objective(log, "dr"), ConfigError, "needs the reward model's predictions"),
        (lambda log: Objective(log, clip=0.0), ConfigError, "above 0"),
        (lambda log: Objective(log, variance=float("nan")), ConfigError, "variance is nan"),
        (lambda log: learn_policy(log, LearnConfig(kind="dr"), seed=1), ConfigError, "reward model"),
        (lambda log: learn_policy(log, action_AD=np.eye(3), seed=1), ConfigError, "has 6 actions"),
        (lambda log: learn_policy(log.rows(np.arange(1)), seed=1), DataError, "cannot be split"),
        (lambda log: learn_policy(log.rows(np.arange(0)), seed=1), DataError, "no rounds"),
        (
            lambda log: judge_learning(log, estimator=DoublyRobust(), seed=1),
            ConfigError,
            "needs a reward model",
        ),
        (
            lambda log: LinearSoftmax(np.zeros((2, 2)), np.eye(3), np.zeros(1), np.ones(1)),
            DataError,
            "weights must be",
        ),
        (
            lambda log: LinearSoftmax(np.zeros((1, 3)), np.eye(3), np.zeros(0), np.ones(0), 0.5),
            ConfigError,
            "1 / 3 actions",
        ),
        (
            lambda log: LinearSoftmax.uniform(
                action_AD=np.eye(2), context_BF=np.ones((1, 1)), known_A=np.zeros(2, bool)
            ),
            DataError,
            "one of 2 at least",
        ),
        (
            lambda log: LinearSoftmax.uniform(action_AD=np.eye(2), context_BF=np.array([[np.nan]])),
            DataError,
            "not finite",
        ),
        (
            lambda log: paired_gain(Terms(np.ones(2)), Terms(np.ones(3)), None),
            DataError,
            "cannot pair",
        ),
        (lambda log: paired_gain(Terms(np.ones(2)), None, None, level=1.0), ConfigError, "level"),
    ],
)  # fmt: skip
def test_mistakes_are_told(make, error, message, log):
    with pytest.raises(error, match=message):
        make(log)


def test_another_context_is_refused(log):
    policy = LinearSoftmax.uniform(action_AD=np.eye(6), context_BF=log.context_BF)
    with pytest.raises(DataError, match="learned on 3 features"):
        policy.probabilities(np.zeros((2, 2)))
    with pytest.raises(DataError, match="not finite"):
        policy.probabilities(np.full((2, 3), np.inf))
