"""Every estimator keeps the contract, and equals a plain loop written from its formula."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.evaluation.off_policy.beta_ips import BetaIPS
from muma.evaluation.off_policy.cascade_dr import CascadeDR
from muma.evaluation.off_policy.clipped_ips import ClippedIPS, ClippedIPSConfig
from muma.evaluation.off_policy.direct_method import DirectMethod
from muma.evaluation.off_policy.doubly_robust import DoublyRobust
from muma.evaluation.off_policy.dr_shrinkage import ShrunkDR, ShrunkDRConfig
from muma.evaluation.off_policy.estimator import view
from muma.evaluation.off_policy.ips import IPS
from muma.evaluation.off_policy.item_position_ips import ItemPositionIPS
from muma.evaluation.off_policy.logged import Logged
from muma.evaluation.off_policy.self_normalised_dr import SelfNormalisedDR
from muma.evaluation.off_policy.snips import SNIPS
from muma.evaluation.off_policy.switch_dr import SwitchDR, SwitchDRConfig
from muma.rng import derive
from muma.testing.bandit_world import BanditWorld
from muma.testing.estimator_suite import EstimatorSuite


class TestIPS(EstimatorSuite):
    def make(self):
        return IPS()


class TestSNIPS(EstimatorSuite):
    def make(self):
        return SNIPS()


class TestClippedIPS(EstimatorSuite):
    def make(self):
        return ClippedIPS()


class TestBetaIPS(EstimatorSuite):
    def make(self):
        return BetaIPS()


class TestDirectMethod(EstimatorSuite):
    def make(self):
        return DirectMethod()


class TestDoublyRobust(EstimatorSuite):
    def make(self):
        return DoublyRobust()


class TestSelfNormalisedDR(EstimatorSuite):
    def make(self):
        return SelfNormalisedDR()


class TestSwitchDR(EstimatorSuite):
    def make(self):
        return SwitchDR()


class TestShrunkDR(EstimatorSuite):
    def make(self):
        return ShrunkDR()


class TestItemPositionIPS(EstimatorSuite):
    def make(self):
        return ItemPositionIPS()


class TestCascadeDR(EstimatorSuite):
    def make(self):
        return CascadeDR()


def past(seed, n=90, actions=4):
    """Answers of one to three slots in shuffled order, any rewards, some weights 0."""
    rng = derive(seed, "past")
    slate_B, position_B = [], []
    while len(slate_B) < n:
        for slot in range(int(rng.integers(1, 4))):
            slate_B.append(len(set(slate_B)) if slot == 0 else slate_B[-1])
            position_B.append(slot)
    slate_B, position_B = np.array(slate_B[:n]), np.array(position_B[:n])
    order_B = rng.permutation(n)
    target_BA = rng.dirichlet(np.full(actions, 0.4), size=n)
    target_BA[rng.random(n) < 0.2] = np.eye(actions)[0]
    logged = Logged(
        rng.integers(0, actions, n), rng.normal(size=n), rng.uniform(0.05, 1, n), actions,
        position_B=position_B[order_B], slate_B=slate_B[order_B],
    )  # fmt: skip
    return view(logged, target_BA, prediction_BA=rng.normal(size=(n, actions)))


def rows(rounds):
    """(target of the logged action, propensity, reward, model's expectation, its prediction)."""
    lg, found = rounds.logged, []
    for b in range(len(lg)):
        expected = sum(
            float(rounds.target_BA[b, a]) * float(rounds.prediction_BA[b, a])
            for a in range(lg.n_actions)
        )
        a = int(lg.action_B[b])
        weight = float(rounds.target_BA[b, a]) / float(lg.propensity_B[b])
        found.append((weight, float(lg.reward_B[b]), expected, float(rounds.prediction_BA[b, a])))
    return found


def mean(values):
    return math.fsum(values) / len(values)


def loop_ips(rounds):
    return mean([w * r for w, r, _, _ in rows(rounds)])


def loop_snips(rounds):
    return math.fsum(w * r for w, r, _, _ in rows(rounds)) / math.fsum(w for w, *_ in rows(rounds))


def loop_clipped(rounds):
    return mean([(w if w < 1.3 else 1.3) * r for w, r, _, _ in rows(rounds)])


def loop_beta(rounds):
    top = math.fsum((w * w - w) * r for w, r, _, _ in rows(rounds))
    beta = top / math.fsum(w * w - w for w, *_ in rows(rounds))
    return mean([w * r - beta * (w - 1) for w, r, _, _ in rows(rounds)])


def loop_dm(rounds):
    return mean([e for _, _, e, _ in rows(rounds)])


def loop_dr(rounds):
    return mean([e + w * (r - q) for w, r, e, q in rows(rounds)])


def loop_sndr(rounds):
    top = math.fsum(w * (r - q) for w, r, _, q in rows(rounds))
    return loop_dm(rounds) + top / math.fsum(w for w, *_ in rows(rounds))


def loop_switch(rounds):
    return mean([e + (w * (r - q) if w <= 0.9 else 0.0) for w, r, e, q in rows(rounds)])


def loop_shrunk(rounds):
    return mean([e + 2.5 * w / (w * w + 2.5) * (r - q) for w, r, e, q in rows(rounds)])


def answers(rounds):
    found = {}
    for b, row in enumerate(rows(rounds)):
        key = int(rounds.logged.slate_B[b])
        found.setdefault(key, []).append((int(rounds.logged.position_B[b]), row))
    return [[row for _, row in sorted(slots)] for slots in found.values()]


def loop_position(rounds):
    return mean([math.fsum(w * r for w, r, _, _ in slots) for slots in answers(rounds)])


def loop_cascade(rounds):
    values = []
    for slots in answers(rounds):
        total, so_far = 0.0, 1.0
        for w, r, e, q in slots:
            total += so_far * e
            so_far *= w
            total += so_far * (r - q)
        values.append(total)
    return mean(values)


PAIRS = [
    (IPS(), loop_ips),
    (SNIPS(), loop_snips),
    (ClippedIPS(ClippedIPSConfig(clip=1.3)), loop_clipped),
    (BetaIPS(), loop_beta),
    (DirectMethod(), loop_dm),
    (DoublyRobust(), loop_dr),
    (SelfNormalisedDR(), loop_sndr),
    (SwitchDR(SwitchDRConfig(threshold=0.9)), loop_switch),
    (ShrunkDR(ShrunkDRConfig(shrinkage=2.5)), loop_shrunk),
    (ItemPositionIPS(), loop_position),
    (CascadeDR(), loop_cascade),
]


@pytest.mark.parametrize(("estimator", "loop"), PAIRS, ids=lambda x: getattr(x, "name", ""))
@pytest.mark.parametrize("seed", range(5))
def test_it_equals_a_plain_loop(estimator, loop, seed):
    rounds = past(seed)
    assert estimator.terms(rounds).value == pytest.approx(loop(rounds), rel=1e-12, abs=1e-12)


seeds = st.integers(0, 10**6)


@given(seed=seeds, shift=st.floats(-50, 50))
@settings(max_examples=30, deadline=None)
def test_a_constant_added_to_rewards_moves_self_normalised_values_by_it(seed, shift):
    rounds = past(seed)
    lg = rounds.logged
    moved = view(
        Logged(lg.action_B, lg.reward_B + shift, lg.propensity_B, lg.n_actions), rounds.target_BA
    )
    for estimator in (SNIPS(), BetaIPS()):
        expected = estimator.terms(rounds).value + shift
        assert estimator.terms(moved).value == pytest.approx(expected, abs=1e-9)


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_without_residuals_all_doubly_robust_ones_are_the_direct_method(seed):
    rounds = past(seed)
    q_BA = rounds.prediction_BA.copy()
    q_BA[np.arange(len(rounds.logged)), rounds.logged.action_B] = rounds.logged.reward_B
    rounds = view(rounds.logged, rounds.target_BA, prediction_BA=q_BA)
    expected = DirectMethod().terms(rounds).value
    for estimator in (DoublyRobust(), SelfNormalisedDR(), SwitchDR(), ShrunkDR()):
        assert estimator.terms(rounds).value == pytest.approx(expected, abs=1e-12)


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_settings_go_from_doubly_robust_to_the_direct_method(seed):
    rounds = past(seed)
    dr, dm = (e.terms(rounds).value for e in (DoublyRobust(), DirectMethod()))
    largest = float(rounds.weight_B.max())
    for kind, config, name in ((SwitchDR, SwitchDRConfig, "threshold"), (ShrunkDR, ShrunkDRConfig, "shrinkage")):  # fmt: skip
        assert kind(config(**{name: 1e15})).terms(rounds).value == pytest.approx(dr, abs=1e-9)
        assert kind(config(**{name: 0.0})).terms(rounds).value == pytest.approx(dm, abs=1e-12)
    assert ClippedIPS(ClippedIPSConfig(clip=largest)).terms(rounds).value == pytest.approx(
        IPS().terms(rounds).value, abs=1e-12
    )


@given(seed=seeds, shrinkage=st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_stated_caps_hold(seed, shrinkage):
    rounds = past(seed)
    for estimator in (
        ShrunkDR(ShrunkDRConfig(shrinkage=shrinkage)),
        SwitchDR(SwitchDRConfig(threshold=shrinkage)),
        ClippedIPS(ClippedIPSConfig(clip=shrinkage)),
    ):
        terms = estimator.terms(rounds)
        assert terms.weight_B.max() <= terms.weight_cap * (1 + 1e-12)


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_with_the_same_policy_the_value_is_the_mean_reward(seed):
    rng = derive(seed, "same")
    target_BA = rng.dirichlet(np.ones(5), size=60)
    action_B = rng.integers(0, 5, 60)
    logged = Logged(action_B, rng.random(60), target_BA[np.arange(60), action_B], 5)
    for estimator in (IPS(), SNIPS(), BetaIPS()):
        value = estimator.terms(view(logged, target_BA)).value
        assert value == pytest.approx(logged.reward_B.mean(), abs=1e-12)


def test_no_overlap_at_all_is_zero_for_ips_and_undefined_for_its_normalised_form():
    logged = Logged(np.zeros(5, int), np.ones(5), np.ones(5), 2)
    rounds = view(logged, np.tile([0.0, 1.0], (5, 1)), prediction_BA=np.full((5, 2), 0.3))
    assert IPS().terms(rounds).value == 0.0
    assert np.isnan(SNIPS().terms(rounds).value)
    assert np.isnan(SelfNormalisedDR().terms(rounds).value)
    assert ClippedIPS().terms(rounds).value == 0.0
    assert DoublyRobust().terms(rounds).value == pytest.approx(0.3)
    assert SwitchDR().terms(rounds).value == pytest.approx(0.3)


def test_no_baseline_leaves_less_variance_than_the_chosen_one():
    logged, target_BA, _ = BanditWorld().log(20_000, derive(3, "baseline"))
    rounds = view(logged, target_BA)
    chosen = BetaIPS().terms(rounds).parameter
    w_B, r_B = rounds.weight_B, logged.reward_B
    beta = np.linspace(chosen - 0.5, chosen + 0.5, 1001)
    spread = [np.var(b + w_B * (r_B - b)) for b in beta]
    # the sample's own best baseline differs from beta* as the mean weight does from 1
    assert abs(beta[int(np.argmin(spread))] - chosen) < 0.02
    assert min(spread) < np.var(w_B * r_B)
