"""Every policy of independent arms keeps the contract."""

import numpy as np
import pytest

from muma.config import Spec
from muma.policy.cycle import Cycle
from muma.policy.epsilon_greedy import EpsilonGreedy, EpsilonGreedyConfig
from muma.policy.floor import Floor
from muma.policy.greedy import Greedy
from muma.policy.prior import Prior
from muma.policy.softmax import SoftmaxConfig, SoftmaxPolicy
from muma.policy.stochastic_ucb import StochasticUCB, StochasticUCBConfig
from muma.policy.thompson import Thompson, ThompsonConfig
from muma.policy.ucb import UCB, UCBConfig
from muma.testing.policy_suite import PolicySuite, rows_of

HOUR = 3_600_000_000
DISCOUNTED = Spec.model_validate(
    {"use": "muma.policy.discounted.Discounted", "half_life_us": HOUR // 4}
)
WINDOW = Spec.model_validate(
    {
        "use": "muma.policy.sliding_window.SlidingWindow",
        "length_us": HOUR // 2,
        "pane_us": HOUR // 12,
    }
)
NEW = Prior(label="click", strength=5)


class TestGreedy(PolicySuite):
    deterministic = True

    def make(self):
        return Greedy()


class TestUCB(PolicySuite):
    deterministic = True

    def make(self):
        return UCB()


class TestUCBWithPriorInAWindow(PolicySuite):
    deterministic = True

    def make(self):
        return UCB(UCBConfig(prior=NEW, forgetting=WINDOW))


class TestCycle(PolicySuite):
    def make(self):
        return Cycle()


class TestStochasticUCB(PolicySuite):
    def make(self):
        return StochasticUCB(StochasticUCBConfig(temperature=0.5))


class TestStochasticUCBEpsilon(PolicySuite):
    def make(self):
        return StochasticUCB(StochasticUCBConfig(draw="epsilon", forgetting=DISCOUNTED, prior=NEW))


class TestEpsilonGreedy(PolicySuite):
    def make(self):
        return EpsilonGreedy(EpsilonGreedyConfig(epsilon=0.5, half_life=4_000))


class TestSoftmax(PolicySuite):
    def make(self):
        return SoftmaxPolicy(SoftmaxConfig(temperature=0.7))


class TestSoftmaxWithoutFloor(PolicySuite):
    def make(self):
        return SoftmaxPolicy(SoftmaxConfig(temperature=0.7, floor=Floor(least=0)))


class TestSoftmaxOfTheBestOnly(PolicySuite):
    def make(self):
        return SoftmaxPolicy(SoftmaxConfig(floor=Floor(least=0.04, mass=0.2)))


class TestThompson(PolicySuite):
    def make(self):
        return Thompson()


class TestThompsonDiscounted(PolicySuite):
    def make(self):
        return Thompson(ThompsonConfig(forgetting=DISCOUNTED, prior=NEW))


class TestThompsonGaussian(PolicySuite):
    def make(self):
        return Thompson(ThompsonConfig(posterior="gaussian", forgetting=WINDOW))


class TestThompsonMonteCarlo(PolicySuite):
    def make(self):
        return Thompson(ThompsonConfig(probabilities="monte-carlo", draws=200, seed=3))


class TooSure(SoftmaxPolicy):
    """Draws at one temperature and logs the probabilities of another."""

    def _gumbel(self, slate, k, rng):
        return SoftmaxPolicy(SoftmaxConfig(temperature=0.6))._gumbel(slate, k, rng)


class InOrderOfRequests(SoftmaxPolicy):
    """Draws from a generator of its own."""

    own = np.random.default_rng(0)

    def choose(self, slate, context, k, rng):
        return super().choose(slate, context, k, self.own)


class Sloppy(EpsilonGreedy):
    """Learns the rows before the wrong one."""

    def learn(self, feedback):
        for row in range(len(feedback)):
            super().learn(rows_of(feedback, np.array([row])))


@pytest.mark.parametrize(
    ("wrong", "test"),
    [
        (TooSure(SoftmaxConfig(temperature=0.7)), "test_logged_probabilities_match_frequencies"),
        (InOrderOfRequests(), "test_choices_follow_from_seed_and_request"),
    ],
)
def test_the_suite_notices_a_wrong_policy(wrong, test):
    class Suite(PolicySuite):
        draws = 10_000

        def make(self):
            return wrong

    with pytest.raises(AssertionError):
        getattr(Suite(), test)()


def test_the_suite_notices_half_learned_feedback():
    class Suite(PolicySuite):
        def make(self):
            return Sloppy()

    with pytest.raises((AssertionError, pytest.fail.Exception)):
        Suite().test_wrong_feedback_is_refused_whole("reward_E", 2.0)
