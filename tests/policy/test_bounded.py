"""Exploration stays within its bounds, and propensities stay exact."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muma import artifact
from muma.config import Spec, build, parse
from muma.errors import ConfigError, DataError
from muma.policy.bounded import Bounded, BoundedConfig
from muma.policy.bounds import Ledger, Limits, likely_enough
from muma.policy.floor import Floor
from muma.policy.policy import Feedback
from muma.policy.softmax import SoftmaxConfig, SoftmaxPolicy
from muma.rng import derive
from muma.testing.policy_suite import NOW, PolicySuite, context_of, lists_of, slate_of

HOUR = 3_600_000_000
FLAT = Spec.model_validate({"use": "muma.policy.softmax.SoftmaxPolicy", "temperature": 5.0})


def bounded(**limits):
    return Bounded(BoundedConfig(policy=FLAT, limits=Limits(**limits)))


class TestBoundedPerRequest(PolicySuite):
    def make(self):
        return Bounded(BoundedConfig(limits=Limits(per_request=1)))


class TestBoundedShare(PolicySuite):
    def make(self):
        policy = bounded(share=0.3, least_propensity=0.02)
        policy.ledger.shown(np.arange(100) < 29, NOW - 60)
        return policy


class TestBoundedWithGuard(PolicySuite):
    def make(self):
        return Bounded(BoundedConfig(limits=Limits(guard_ratio=0.1, least_propensity=0.01)))


class TestSwitchedOff(PolicySuite):
    """All slots are greedy, but the floor that is stated is the one of slots that are not."""

    def make(self):
        policy = bounded()
        policy.switch_off("the ranker's errors")
        return policy

    def test_all_candidates_are_reachable(self):
        p_N = self.learned().next_slot(slate_of(5), context_of(), [])
        assert np.count_nonzero(p_N) == 1


@pytest.mark.parametrize("most", [0, 1, 2])
def test_a_request_explores_no_more_slots_than_allowed(most):
    policy, slate = bounded(per_request=most), slate_of(20)
    counts = []
    for number in range(100):
        decision = policy.choose(slate, context_of(number), 8, derive(0, f"r{number}"))
        counts.append(int(decision.explored_K.sum()))
        spent = np.cumsum(decision.explored_K) - decision.explored_K >= most
        assert (decision.propensity_K[spent] == 1).all()
        assert (decision.support_K[spent] == 1).all()
        assert not decision.explored_K[spent].any()
    assert max(counts) == most


def test_lists_within_a_cap_against_those_without():
    """With a cap of one, the lists of 3 of 6 are those of the policy up to the first explored slot."""
    slate, context = slate_of(6, seed=1), context_of()
    free, capped = SoftmaxPolicy(SoftmaxConfig(temperature=5.0)), bounded(per_request=1)
    chance, within = lists_of(free, slate, context, 3), lists_of(capped, slate, context, 3)
    greedy = np.argsort(-slate.score_N).tolist()
    wanted: dict[tuple[int, ...], float] = {}
    for places, p in chance.items():
        shown, left = [], list(greedy)
        for place in places:
            if shown and any(a != b for a, b in zip(shown, greedy, strict=False)):
                place = left[0]  # noqa: PLW2901 - the bound's own choice
            shown.append(place)
            left.remove(place)
        wanted[tuple(shown)] = wanted.get(tuple(shown), 0.0) + p
    assert within.keys() == wanted.keys()
    for places, p in wanted.items():
        assert within[places] == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2])
def test_no_slot_is_explored_that_would_break_the_share(share):
    policy, slate = bounded(share=share, horizon_us=HOUR), slate_of(20)
    times, explored = [], []
    for number in range(400):
        context = replace(context_of(number), time=NOW + number * HOUR // 100)
        decision = policy.choose(slate, context, 5, derive(0, context.request_id))
        policy.observe(decision, time=context.time)
        first_pane = context.time // (HOUR // 12) * (HOUR // 12) - HOUR * 11 // 12
        for is_explored in decision.explored_K.tolist():
            times.append(context.time)
            explored.append(is_explored)
            recent = np.array(times) >= first_pane
            if is_explored:
                assert np.array(explored)[recent].sum() <= share * recent.sum() + 1e-9
    assert np.mean(explored) == pytest.approx(share, abs=0.02)  # and it is made use of


def rewards(n, explored, mean, time):
    reward_E = (np.arange(n) < round(n * mean)).astype(float)
    return Feedback(
        np.zeros(n, int), reward_E, np.full(n, time), np.ones(n), explored_E=np.full(n, explored)
    )


@pytest.mark.parametrize("rate", [0.005, 0.01, 0.03])
def test_a_guard_seldom_stops_what_is_as_good(rate):
    """200 explored slots without a reward are no proof where one in 100 is rewarded."""
    rng, stopped = derive(3, "guard", str(rate)), 0
    explored_E = np.arange(20_200) < 200
    for _ in range(400):
        ledger = Ledger(Limits(guard_ratio=0.9, horizon_us=HOUR))
        reward_E = (rng.random(20_200) < rate).astype(float)
        ledger.rewarded(explored_E, reward_E, np.full(20_200, NOW))
        stopped += ledger.guarded(NOW)
    assert stopped <= 0.023 * 400 + 3 * np.sqrt(0.023 * 400)  # chance of 2 standard errors


def test_a_guard_switches_exploration_off_and_tries_again_later():
    policy, slate = bounded(guard_ratio=0.5, guard_evidence=100, horizon_us=HOUR), slate_of(9)

    def support(at):
        p_N = policy.next_slot(slate, replace(context_of(), time=at), [])
        return np.count_nonzero(p_N)

    policy.learn(rewards(1_000, False, 0.2, NOW))
    policy.learn(rewards(90, True, 0.0, NOW))
    assert support(NOW) == 9  # too little evidence
    policy.learn(rewards(60, True, 0.10, NOW))  # 0.04 of 150, and half of 0.2 is beyond doubt
    assert support(NOW) == 1
    assert support(NOW + HOUR // 2) == 1
    assert support(NOW + HOUR + HOUR // 12) == 9
    policy.learn(rewards(1_000, False, 0.2, NOW + 2 * HOUR))
    policy.learn(rewards(1_000, True, 0.12, NOW + 2 * HOUR))
    assert support(NOW + 2 * HOUR) == 9
    with pytest.raises(DataError, match="does not say"):
        policy.learn(replace(rewards(10, True, 0.1, NOW), explored_E=None))


def test_feedback_that_is_sent_twice_counts_once_for_the_guard(tmp_path):
    policy = bounded(guard_ratio=0.5)
    batch = replace(rewards(30, True, 0.5, NOW), source=(3, 0))
    policy.learn(batch)
    once = policy.ledger.rewards_2W.copy()
    policy.learn(batch)
    assert np.array_equal(policy.ledger.rewards_2W, once)
    with artifact.write(tmp_path / "p", kind="policy", version=1) as writer:
        policy.save(writer)
    policy = Bounded.load(artifact.read(tmp_path / "p", kind="policy", version=1))
    policy.learn(batch)
    assert np.array_equal(policy.ledger.rewards_2W, once)
    policy.learn(replace(rewards(30, True, 0.5, NOW), source=(3, 20)))  # twenty of them are new
    one_by_one = bounded(guard_ratio=0.5)
    for part in (rewards(30, True, 0.5, NOW), rewards(20, True, 0.25, NOW)):
        one_by_one.learn(part)
    assert np.array_equal(policy.ledger.rewards_2W, one_by_one.ledger.rewards_2W)
    policy.learn(replace(rewards(30, True, 0.5, NOW), source=(4, 0)))
    assert not np.array_equal(policy.ledger.rewards_2W, one_by_one.ledger.rewards_2W)


def test_the_switch_is_kept_with_the_reason(tmp_path):
    policy, slate = bounded(), slate_of(9)
    policy.switch_off("complaints")
    with artifact.write(tmp_path / "p", kind="policy", version=1) as writer:
        policy.save(writer)
    loaded = Bounded.load(artifact.read(tmp_path / "p", kind="policy", version=1))
    assert loaded.reason == "complaints"
    assert loaded.next_slot(slate, context_of(), []).max() == 1
    loaded.switch_on()
    assert loaded.next_slot(slate, context_of(), []).max() < 0.5


def test_closed_places_do_not_use_up_the_cap():
    policy, slate = bounded(per_request=1), slate_of(6)
    order = np.argsort(-slate.score_N).tolist()
    p_N = policy.next_slot(slate, context_of(), [order[2]], closed=order[:2])
    assert np.count_nonzero(p_N) == 3
    assert (p_N[order[:3]] == 0).all()
    assert np.count_nonzero(policy.next_slot(slate, context_of(), [order[2]])) == 1


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0, 1))
def test_no_chance_under_the_least(weights, least):
    p_N = np.array(weights) + (np.arange(len(weights)) == 0) * 0.1
    p_N /= p_N.sum()
    left_N = likely_enough(p_N, np.arange(len(p_N)), least)
    assert left_N.sum() == pytest.approx(1)
    assert left_N[left_N > 0].min() >= least - 1e-12
    kept = left_N > 0
    assert p_N[kept].min() >= p_N[~kept].max(initial=0)  # the least likely go
    np.testing.assert_allclose(left_N[kept] / left_N[kept].sum(), p_N[kept] / p_N[kept].sum())
    if not kept.all() and (rest := p_N[~kept]).max() > 0:  # and no more than must
        assert rest.max() / (p_N[kept].sum() + rest.max()) < least + 1e-12


def test_the_ledger_does_not_mind_the_order():
    parts = [(derive(n).random(5) < 0.5, NOW + int(derive(n).integers(HOUR))) for n in range(20)]
    one, other = (Ledger(Limits(share=0.5)) for _ in range(2))
    for explored_K, time in parts:
        one.shown(explored_K, time)
    for explored_K, time in parts[::-1]:
        other.shown(explored_K, time)
    np.testing.assert_array_equal(one.slots_1W, other.slots_1W)


def test_by_recipe():
    recipe = {
        "use": "muma.policy.bounded.Bounded",
        "policy": {"use": "muma.policy.thompson.Thompson", "floor": {"least": 0.002}},
        "limits": {"per_request": 2, "share": 0.1},
    }
    policy = build(recipe, where="policy", methods=("choose", "learn"))
    assert policy.policy.config.floor == Floor(least=0.002)
    with pytest.raises(ConfigError, match="no multiple of 12"):
        parse(Limits, {"horizon_us": 100})
    with pytest.raises(ConfigError, match="it has no judge"):
        build({**recipe, "policy": {"use": "muma.policy.floor.Floor"}})
