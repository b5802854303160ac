"""Linear policies: the suite, and oracles: algorithm 1 row by row, closed forms of two Gaussians."""

import numpy as np
import pytest
from scipy.stats import norm

from muma.errors import DataError
from muma.policy.floor import Floor
from muma.policy.linear_statistics import LinearConfig, leaned
from muma.policy.lints import LinTS, LinTSConfig
from muma.policy.linucb import LinUCB, LinUCBConfig
from muma.policy.neural_linear import NeuralLinear, NeuralLinearConfig
from muma.policy.policy import Context, Feedback
from muma.policy.prior import Prior
from muma.ranking.ranker import Slate
from muma.rng import derive
from muma.testing.policy_suite import SECOND, PolicySuite, context_of, feedback_of, slate_of

CLICK = Prior(label="click", strength=3.0)


class TestLinUCBSoftmax(PolicySuite):
    draws = 1_000

    def make(self):
        return LinUCB(LinUCBConfig(temperature=0.1, floor=Floor(least=0.004)))


class TestLinUCBEpsilon(PolicySuite):
    draws = 1_000

    def make(self):
        config = {"choice": "epsilon", "half_life_us": 900.0 * SECOND}
        return LinUCB(LinUCBConfig(**config, epsilon=0.3, prior=CLICK))


class TestLinUCBBest(PolicySuite):
    deterministic = True
    draws = 200

    def make(self):
        return LinUCB(LinUCBConfig(choice="best"))


class TestLinTS(PolicySuite):
    draws = 1_000

    def make(self):
        return LinTS(LinTSConfig(draws=200, inflation=3.0, half_life_us=900.0 * SECOND))


class TestLinTSWithPrior(PolicySuite):
    draws = 400

    def make(self):
        return LinTS(LinTSConfig(draws=100, prior=CLICK, floor=Floor(least=0.01)))


class TestNeuralLinear(PolicySuite):
    draws = 1_000

    def make(self):
        return NeuralLinear(NeuralLinearConfig(draws=200, half_life_us=900.0 * SECOND))


class TestNeuralLinearWithPrior(PolicySuite):
    draws = 400

    def make(self):
        return NeuralLinear(NeuralLinearConfig(draws=100, prior=CLICK))


def ridge(z_ED, reward_E, precision):
    """A^-1 and theta by rank-one updates, as Li et al. algorithm 1 and Sherman-Morrison."""
    inverse_DD = np.eye(z_ED.shape[1]) / precision
    reward_D = np.zeros(z_ED.shape[1])
    for z_D, reward in zip(z_ED, reward_E, strict=True):
        moved_D = inverse_DD @ z_D
        inverse_DD = inverse_DD - np.outer(moved_D, moved_D) / (1 + z_D @ moved_D)
        reward_D = reward_D + reward * z_D
    return inverse_DD, inverse_DD @ reward_D


def with_one(value_NF):
    return np.column_stack([np.ones(len(value_NF)), np.asarray(value_NF, np.float64)])


def test_linucb_is_algorithm_one():
    config = LinUCBConfig(scaling="none", choice="best", alpha=0.7, prior_precision=2.0)
    policy, feedback, slate = LinUCB(config), feedback_of(300), slate_of(50)
    policy.learn(feedback)
    inverse_DD, theta_D = ridge(with_one(feedback.value_EF), feedback.reward_E, 2.0)
    z_ND = with_one(slate.value_NF)
    mean_N, index_N = policy.index(slate)
    width_N = np.sqrt(np.einsum("nd,de,ne->n", z_ND, inverse_DD, z_ND))
    np.testing.assert_allclose(mean_N, z_ND @ theta_D, rtol=1e-9)
    np.testing.assert_allclose(index_N, z_ND @ theta_D + 0.7 * width_N, rtol=1e-9)
    p_N = policy.next_slot(slate, context_of(), [])
    assert p_N[np.argmax(index_N)] == 1


def test_imagined_rewards_are_rows_of_the_regression():
    feedback, slate = feedback_of(200), slate_of(20)
    policy = LinUCB(LinUCBConfig(scaling="none"))
    policy.learn(feedback)
    posterior = policy.statistics.posterior(3)
    found = leaned(*posterior.moments(posterior.design(slate.value_NF)), CLICK, slate)
    for i in range(20):
        z_D = with_one(slate.value_NF[i : i + 1])[0]
        z_ED = np.vstack([with_one(feedback.value_EF), [z_D] * 3])
        p = slate.probability["click"][i]
        inverse_DD, theta_D = ridge(z_ED, [*feedback.reward_E, p, p, p], 1.0)
        assert found[0][i] == pytest.approx(z_D @ theta_D, rel=1e-9)
        assert found[1][i] == pytest.approx(np.sqrt(z_D @ inverse_DD @ z_D), rel=1e-9)


@pytest.mark.parametrize("prior", [Prior(strength=0.0), CLICK])
def test_lints_of_two_is_the_chance_of_a_difference(prior):
    draws = 40_000
    config = LinTSConfig(scaling="none", noise=0.5, draws=draws, prior=prior, floor=Floor(least=0))
    policy, feedback = LinTS(config), feedback_of(60)
    policy.learn(feedback)
    inverse_DD, _ = ridge(with_one(feedback.value_EF), feedback.reward_E, 1.0)
    for seed in range(4):
        slate = slate_of(2, seed=seed)
        mean_2 = policy.expected(slate, context_of())
        z_2D = with_one(slate.value_NF)
        spread_2 = np.sqrt(np.einsum("nd,de,ne->n", z_2D, inverse_DD, z_2D))
        shrink_2 = 1 / np.sqrt(1 + prior.strength * spread_2**2)
        cov_22 = 0.25 * (z_2D @ inverse_DD @ z_2D.T) * np.outer(shrink_2, shrink_2)
        deviation = np.sqrt(cov_22[0, 0] + cov_22[1, 1] - 2 * cov_22[0, 1])
        wanted = norm.cdf((mean_2[0] - mean_2[1]) / deviation)
        found = policy.next_slot(slate, context_of(seed), [])[0]
        assert found == pytest.approx(wanted, abs=1.5 / np.sqrt(draws))
        decision = policy.choose(slate, context_of(seed), 1, derive(1))
        assert decision.error == pytest.approx(1.5 / np.sqrt(draws))


def test_neural_linear_has_weights_of_each_arm():
    config = NeuralLinearConfig(draws=40_000, prior_precision=2.0, floor=Floor(least=0))
    policy, feedback = NeuralLinear(config), feedback_of(900, items=np.arange(2))
    policy.learn(feedback)
    slate, context = Slate.plain(np.array([0, 1])), context_of(3)
    v_V = np.append(1.0, context.vector_D.astype(np.float64))
    mean_2, deviation_2 = np.zeros(2), np.zeros(2)
    for arm in range(2):
        own_E = feedback.item_E == arm
        z_ED, reward_E = with_one(feedback.vector_ED[own_E]), feedback.reward_E[own_E]
        inverse_DD, theta_D = ridge(z_ED, reward_E, 2.0)
        left = ((reward_E - z_ED @ theta_D) ** 2).sum() + 2 * (theta_D**2).sum()
        mean_2[arm] = v_V @ theta_D
        deviation_2[arm] = np.sqrt((0.25 + left) / (1 + own_E.sum()) * (v_V @ inverse_DD @ v_V))
    np.testing.assert_allclose(policy.expected(slate, context), mean_2, rtol=1e-9)
    wanted = norm.cdf((mean_2[0] - mean_2[1]) / np.sqrt((deviation_2**2).sum()))
    assert policy.next_slot(slate, context, [])[0] == pytest.approx(wanted, abs=1.5 / 200)


def test_neural_linear_without_a_vector_speaks_of_the_mean_user():
    policy, slate = NeuralLinear(NeuralLinearConfig()), Slate.plain(np.array([3, 4]))
    assert policy.expected(slate, Context("cold", 0)).tolist() == [0, 0]
    feedback = feedback_of(400, items=np.arange(5))
    feedback.vector_ED[::3] = np.nan
    policy.learn(feedback)
    zero = Context("zero", 0, vector_D=np.zeros(8))
    nan = Context("nan", 0, vector_D=np.full(8, np.nan))
    cold_2 = policy.expected(slate, Context("cold", 0))
    assert (cold_2 > 0).all()
    for context in (zero, nan):
        np.testing.assert_array_equal(policy.expected(slate, context), cold_2)


def test_like_candidates_rise_and_fall_together():
    """Two copies of one candidate share its chance; independent posteriors would give them more."""
    value_NF = np.array([[1.0], [1.0], [0.0]], np.float32)
    feedback = feedback_of(30)
    policy = LinTS(LinTSConfig(scaling="none", draws=20_000, floor=Floor(least=0), noise=1.0))
    values_EF = feedback.value_EF[:, :1]
    policy.learn(
        Feedback(
            feedback.item_E, feedback.reward_E, feedback.time_E, feedback.propensity_E, values_EF
        )
    )
    p_3 = policy.next_slot(Slate.plain(np.arange(3), None, value_NF, ("x",)), context_of(), [])
    p_2 = policy.next_slot(Slate.plain(np.arange(2), None, value_NF[1:], ("x",)), context_of(), [])
    assert p_3[0] == p_3[1]
    assert p_3[0] + p_3[1] == pytest.approx(p_2[0], abs=1e-12)


@pytest.mark.parametrize("kind", [LinUCB, LinTS])
def test_features_must_be_there_and_fit(kind):
    policy, feedback, slate = kind(), feedback_of(20), slate_of(5)
    rows = feedback.item_E, feedback.reward_E, feedback.time_E, feedback.propensity_E
    for value_EF in (None, np.zeros((3, 2)), np.zeros(20)):
        with pytest.raises(DataError, match="keep them with the decision"):
            policy.learn(Feedback(*rows, value_EF=value_EF))
    policy.learn(feedback)
    for value in (np.zeros((20, 5), np.float32), np.full((20, 3), np.inf)):
        with pytest.raises(DataError, match=r"features|infinite"):
            policy.learn(Feedback(*rows, value_EF=value))
    narrow = Slate.plain(slate.item_N, None, slate.value_NF[:, :2], ("a", "b"))
    with pytest.raises(DataError, match=r"\[rows, 3\]"):
        policy.choose(narrow, context_of(), 2, derive(0))


def test_vectors_must_be_there_and_fit():
    policy, feedback = NeuralLinear(), feedback_of(20)
    rows = feedback.item_E, feedback.reward_E, feedback.time_E, feedback.propensity_E
    with pytest.raises(DataError, match="keep them with the decision"):
        policy.learn(Feedback(*rows))
    policy.learn(feedback)
    for vector in (np.zeros((20, 5)), np.full((20, 8), np.inf)):
        with pytest.raises(DataError, match=r"vectors have shape|infinite"):
            policy.learn(Feedback(*rows, vector_ED=vector))
    with pytest.raises(DataError, match="shape"):
        policy.next_slot(slate_of(3), Context("r", 0, vector_D=np.zeros(3)), [])


def test_a_prior_without_its_label_is_refused():
    policy = LinTS(LinTSConfig(prior=CLICK))
    with pytest.raises(DataError, match="probability of 'click'"):
        policy.next_slot(Slate.plain(np.arange(3)), context_of(), [])


def test_settings_that_mean_nothing_are_refused():
    for wrong in ({"prior_precision": 0.0}, {"half_life_us": 0.0}, {"noise": -1.0}):
        with pytest.raises(ValueError, match="greater than 0"):
            LinearConfig(**wrong)
