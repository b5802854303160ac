"""Games side by side are the games of the classes; what is recorded is regret and bias by hand."""

import numpy as np
import pytest
from scipy.special import logit
from scipy.stats import chisquare

from muma.errors import ConfigError
from muma.policy.arms import ArmPolicy
from muma.policy.floor import Floor
from muma.policy.policy import Context, Feedback
from muma.policy.sequential import pick
from muma.policy.thompson import Thompson, ThompsonConfig
from muma.policy.ucb import UCB
from muma.progress import task
from muma.ranking.ranker import Slate
from muma.rng import derive
from muma.simulation.chances import CHANCES, picked
from muma.simulation.contextual import ContextualWorld
from muma.simulation.drifting import DriftingConfig, DriftingWorld
from muma.simulation.one_by_one import play_one_by_one
from muma.simulation.personal import PersonalWorld
from muma.simulation.ranked import RankedConfig, RankedWorld
from muma.simulation.runner import simulate
from muma.simulation.side_by_side import Games, can_play
from muma.simulation.stationary import StationaryConfig, StationaryWorld
from muma.simulation.world import BLOCK, ROUND_US
from muma.testing.discovery import classes_in

POLICIES = {
    "ucb": {"use": "muma.policy.ucb.UCB"},
    "cycle": {"use": "muma.policy.cycle.Cycle"},
    "stochastic ucb": {"use": "muma.policy.stochastic_ucb.StochasticUCB", "bonus": 0.3},
    "epsilon over ucb": {"use": "muma.policy.stochastic_ucb.StochasticUCB", "draw": "epsilon"},
    "greedy": {"use": "muma.policy.epsilon_greedy.EpsilonGreedy", "half_life": 200},
}
FORGETTING = {
    "nothing": {"use": "muma.policy.forgetting.Stationary"},
    "half": {"use": "muma.policy.discounted.Discounted", "half_life_us": 100 * ROUND_US},
    "window": {
        "use": "muma.policy.sliding_window.SlidingWindow",
        "length_us": 200 * ROUND_US,
        "pane_us": 50 * ROUND_US,
    },
}
WORLDS = {
    "stationary": StationaryWorld(),
    "drifting": DriftingWorld(),
    "ranked": RankedWorld(RankedConfig(delay=40)),
}


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize(
    ("world", "forgetting"), [("stationary", "nothing"), ("drifting", "half"), ("ranked", "window")]
)
def test_side_by_side_is_one_by_one(name, world, forgetting):
    spec = {**POLICIES[name], "forgetting": FORGETTING[forgetting]}
    rounds = BLOCK + 60 if world == "stationary" else 260
    parts = {"rounds": rounds, "seeds": (3, 11), "points": 9}
    fast, exact = (
        simulate({name: spec}, WORLDS[world], **parts, exact=exact).plays[name]
        for exact in (False, True)
    )
    np.testing.assert_allclose(fast.regret_SC, exact.regret_SC, rtol=1e-9)
    np.testing.assert_allclose(fast.bias_SC, exact.bias_SC, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(fast.worst_SC, exact.worst_SC, rtol=1e-7, atol=1e-9)
    assert fast.regret_SC[0, -1] != fast.regret_SC[1, -1]


class Constant:
    """Shows the same arms always, and expects what it is told of them."""

    def __init__(self, arm_K, expected):
        self.arm_K, self.value, self.learned = np.array(arm_K), expected, []

    def choose(self, slate, context, k, rng):
        self.u_K = rng.random(k)
        return type(
            "D",
            (),
            {
                "item_K": self.arm_K,
                "propensity_K": np.ones(k),
                "explored_K": np.zeros(k, bool),
            },
        )

    def learn(self, feedback):
        self.learned.append(feedback)

    def expected(self, slate, context):
        return np.full(len(slate), self.value)


def play(world, policy, rounds, seed=5):
    with task("test") as one:
        return play_one_by_one(
            lambda: policy, world, rounds_C=np.array([1, rounds]), seeds=(seed,), task=one
        )


def test_regret_bias_and_delay_by_hand():
    world = RankedWorld(RankedConfig(arms=5, examine=(1.0, 0.5), delay=7, low=0.1, high=0.5))
    policy = Constant([2, 0], 0.25)
    found = play(world, policy, 20)
    mean_A = world.block(5, 0).mean_TA[0]
    regret = (0.5 - mean_A[2]) + 0.5 * (0.4 - mean_A[0])
    np.testing.assert_allclose(found.regret_SC, [[regret, 20 * regret]])
    np.testing.assert_allclose(found.bias_SC, [[0.25 - 0.3] * 2])
    np.testing.assert_allclose(found.worst_SC, [[0.25] * 2])
    assert [f.time_E[0] for f in policy.learned] == [t * ROUND_US for t in range(20 - 7)]
    block = world.block(5, 0)
    reward_TK = np.array([f.reward_E for f in policy.learned])
    np.testing.assert_array_equal(
        reward_TK, (block.relevant_TA[:13, [2, 0]] & block.examined_TK[:13]).astype(float)
    )


@pytest.mark.parametrize(
    "world", [*WORLDS.values(), ContextualWorld(), PersonalWorld()], ids=lambda w: type(w).__name__
)
def test_worlds_deal_their_means_and_deal_them_again(world):
    rewards, means, looks = [], [], []
    for number in range(12):
        block, again = world.block(4, number), type(world)(world.config).block(4, number)
        for name in ("mean_TA", "relevant_TA", "examined_TK", "value_TAF", "vector_TD"):
            one, two = getattr(block, name), getattr(again, name)
            assert (one is None) == (two is None)
            if one is not None:
                np.testing.assert_array_equal(one, two)
        assert 0 <= block.mean_TA.min() <= block.mean_TA.max() <= 1
        rewards.append(block.relevant_TA - block.mean_TA)
        means.append(block.mean_TA[0])
        looks.append(block.examined_TK)
    surplus_TA = np.concatenate(rewards)
    assert np.abs(surplus_TA.mean(axis=0)).max() < 4.5 * 0.5 / np.sqrt(len(surplus_TA))
    look_K = np.concatenate(looks).mean(axis=0)
    np.testing.assert_allclose(look_K, world.examine_K, atol=4.5 * 0.5 / np.sqrt(len(surplus_TA)))
    assert np.any(world.block(5, 0).relevant_TA != world.block(4, 0).relevant_TA)


def test_drifting_arms_wander_as_told():
    config = {"centre": 0.2, "spread": 0.5, "memory": 2000.0}
    world = DriftingWorld(DriftingConfig(arms=400, **config))
    x_NA = np.array([logit(world.block(1, n).mean_TA[0]) for n in range(40)]) - logit(0.2)
    assert x_NA.std() == pytest.approx(0.5, rel=0.05)
    assert abs(x_NA.mean()) < 0.02
    kept = (x_NA[1:] * x_NA[:-1]).mean() / (x_NA**2).mean()
    assert kept == pytest.approx(np.exp(-BLOCK / 2000), abs=0.02)
    last_A, next_A = world.block(1, 3).mean_TA[-1], world.block(1, 4).mean_TA[0]
    assert np.abs(last_A - next_A).max() < 0.01  # no jump between blocks


def test_picked_is_pick():
    rng = derive(1, "picked")
    p_SA = rng.random((300, 7)) * (rng.random((300, 7)) < 0.6) + 1e-9 * (np.arange(7) == 2)
    p_SA /= p_SA.sum(axis=1, keepdims=True)
    u_S = np.concatenate([rng.random(298), [0.0, np.nextafter(1, 0)]])
    wanted = [pick(p_A, u) for p_A, u in zip(p_SA, u_S, strict=True)]
    np.testing.assert_array_equal(picked(p_SA, u_S), wanted)


def test_what_cannot_be_played_side_by_side_is_played_one_by_one():
    world, one = StationaryWorld(), np.ones(1)
    assert can_play(UCB(), world)
    learned = UCB()
    learned.learn(Feedback(np.zeros(1, int), one, np.ones(1, int), one))
    assert not can_play(learned, world)
    assert not can_play(Constant([0], 0.0), world)
    spec = {"use": "muma.policy.softmax.SoftmaxPolicy"}
    found = simulate({"softmax": spec}, world, rounds=30, seeds=(1, 2), points=3)
    assert found.plays["softmax"].regret_SC.shape == (2, 3)


@pytest.mark.parametrize("posterior", ["beta", "gaussian"])
def test_thompson_draws_with_the_chances_of_its_class(posterior):
    rng, n_games = derive(1, "thompson", posterior), 10_000
    policy = Thompson(ThompsonConfig(posterior=posterior, floor=Floor(least=0.01)))
    games, item_E = Games(policy, n_games, 5), np.arange(5).repeat([3, 10, 4, 60, 30])
    liked_E = (rng.random(len(item_E)) < 0.4).astype(float)
    shape = (n_games, 1)
    games.learn(np.tile(item_E, shape), np.tile(liked_E, shape), np.ones((n_games, 1)), 7)
    one_E, time_E = np.ones(len(item_E)), np.full(len(item_E), 7)
    policy.learn(Feedback(item_E, liked_E, time_E, one_E))
    arm_SK, _ = games.choose(games.evidence(9), rng.random((n_games, 2)), rng)
    slate, context = Slate.plain(np.arange(5)), Context("r", 9)
    for first in [(), (3,)]:
        rows = arm_SK[arm_SK[:, 0] == 3, 1] if first else arm_SK[:, 0]
        p_A = policy.next_slot(slate, context, first)
        there = p_A > 0
        found_A = np.bincount(rows, minlength=5)
        assert not found_A[~there].any()
        assert chisquare(found_A[there], p_A[there] * len(rows)).pvalue > 1e-3


def test_every_arm_policy_is_known_or_left_out_on_purpose():
    arms = {c for c in classes_in("muma.policy") if issubclass(c, ArmPolicy) and c is not ArmPolicy}
    assert arms == set(CHANCES)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rounds": 0}, "0 rounds"),
        ({"seeds": ()}, r"seeds \(\)"),
        ({"seeds": (1, 1)}, "differ"),
        ({"points": 0}, "0 points"),
    ],
)
def test_refused(change, told):
    parts = {"rounds": 5, "seeds": (1,), "points": 2, **change}
    with pytest.raises(ConfigError, match=told):
        simulate({"ucb": POLICIES["ucb"]}, StationaryWorld(), **parts)
    with pytest.raises(ConfigError):
        simulate({}, StationaryWorld(), rounds=5, seeds=(1,))
    with pytest.raises(ConfigError, match="has no choose"):
        simulate({"x": {"use": "muma.config.Config"}}, StationaryWorld(), rounds=5, seeds=(1,))


def test_worlds_refuse_slots_that_cannot_be():
    for examine in ((), (1.0, 0.0), (0.5,) * 21):
        with pytest.raises(ConfigError):
            StationaryWorld(StationaryConfig(examine=examine))
    with pytest.raises(ConfigError, match="swap"):
        StationaryWorld(StationaryConfig(low=0.4, high=0.2))


def test_context_of_a_round_fixes_the_draws():
    slate, context = Slate.plain(np.arange(2)), Context("1/2", 3)
    policy = Constant([0, 1], 0.0)
    policy.choose(slate, context, 2, derive(5, "choices", 0))
    np.testing.assert_array_equal(policy.u_K, derive(5, "choices", 0).random((BLOCK, 2))[0])
