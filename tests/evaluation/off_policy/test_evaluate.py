"""The report: overlap measured, distrust with its reason, everything in plain JSON."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import genpareto

from muma.errors import DataError
from muma.evaluation.off_policy.asymptotic import Asymptotic
from muma.evaluation.off_policy.bernstein import Bernstein, BernsteinConfig
from muma.evaluation.off_policy.diagnostics import diagnose, weight_tail
from muma.evaluation.off_policy.estimator import view
from muma.evaluation.off_policy.evaluate import PER_ANSWER, PER_ROUND, estimate, evaluate_policy
from muma.evaluation.off_policy.ips import IPS
from muma.evaluation.off_policy.logged import Logged
from muma.evaluation.off_policy.pareto import pareto_k
from muma.evaluation.off_policy.units import units_of
from muma.evaluation.off_policy.verdict import VerdictConfig, model_reasons, weight_reasons
from muma.rng import derive
from muma.testing.bandit_world import BanditWorld, misstated
from muma.testing.slate_world import SlateWorld

NAMES = [e.name for e in PER_ROUND]


@pytest.fixture(scope="module")
def good():
    logged, target_BA, logging_BA = BanditWorld().log(3000, derive(1, "good"))
    return logged, target_BA, logging_BA


def test_a_good_log_is_trusted_and_says_the_value(good):
    logged, target_BA, logging_BA = good
    report = evaluate_policy(logged, target_BA, logging_BA=logging_BA, seed=3)
    assert [row.result.label for row in report.rows] == NAMES
    for row in report.rows:
        if row.consistent:
            assert row.trusted, row
            assert row.result.low < BanditWorld().value < row.result.high
    assert report.logged.value == pytest.approx(logged.reward_B.mean())
    assert (report.interval, report.level, report.per_answer) == ("bootstrap", 0.95, False)
    assert report.diagnostics.unsupported_mass == 0.0
    assert report.row("SNIPS").result.effective_n < 3000
    assert np.isnan(report.row("IPS").parameter)
    assert report.row("clipped IPS").chosen


def test_the_report_is_reproduced_by_its_seed(good):
    logged, target_BA, _ = good
    first, again, other = (evaluate_policy(logged, target_BA, seed=s) for s in (1, 1, 2))
    assert first.to_json() == again.to_json()
    assert first.to_json() != other.to_json()


def test_the_report_is_plain_json(good):
    logged, target_BA, _ = good
    report = evaluate_policy(logged, target_BA, interval=Asymptotic())
    text = json.dumps(report.to_json(), allow_nan=False)
    found = json.loads(text)
    assert found["rows"][0]["result"]["value"] == report.rows[0].result.value
    assert found["rows"][0]["parameter"] is None
    assert found["diagnostics"]["unsupported_mass"] is None
    assert len(found["trusted"]) == len(PER_ROUND)


def test_one_estimator_alone_says_the_same(good):
    logged, target_BA, _ = good
    report = evaluate_policy(logged, target_BA, estimators=[IPS()], interval=Asymptotic())
    assert estimate(IPS(), logged, target_BA) == report.rows[0].result


def test_diagnostics_are_what_a_loop_counts(good):
    logged, target_BA, logging_BA = good
    rounds = view(logged, target_BA)
    found = diagnose(rounds, logging_BA=logging_BA)
    w = [float(x) for x in rounds.weight_B]
    n = len(w)
    assert found.tail.effective_n == pytest.approx(sum(w) ** 2 / sum(x * x for x in w), rel=1e-12)
    assert found.tail.largest == max(w)
    assert found.tail.top_share == pytest.approx(sum(sorted(w)[-30:]) / sum(w), rel=1e-12)
    rewarded = [x * r for x, r in zip(w, logged.reward_B, strict=True)]
    expected = sum(rewarded) ** 2 / sum(x * x for x in rewarded)
    assert found.tail.rewarded_n == pytest.approx(expected, rel=1e-12)
    assert found.mean_weight == pytest.approx(sum(w) / n, rel=1e-12)
    spread = np.std(w) / n**0.5
    assert found.mean_weight_z == pytest.approx((sum(w) / n - 1) / spread, rel=1e-9)
    assert found.quantiles[0.5] == np.median(w)


def test_support_that_is_missing_is_found_and_named():
    rng = derive(2, "support")
    logging_BA = np.tile([0.5, 0.5, 0.0], (2000, 1))
    logged = Logged(rng.integers(0, 2, 2000), rng.random(2000), np.full(2000, 0.5), 3)
    target_BA = np.tile([0.3, 0.3, 0.4], (2000, 1))
    q_BA = np.full((2000, 3), 0.5)
    told = evaluate_policy(logged, target_BA, prediction_BA=q_BA, logging_BA=logging_BA)
    guessed = evaluate_policy(logged, target_BA, prediction_BA=q_BA)
    assert told.diagnostics.unsupported_mass == pytest.approx(0.4)
    assert guessed.diagnostics.unseen_mass == pytest.approx(0.4)
    assert "40.0% of the target's choices could not happen in the log" in told.rows[0].reasons
    assert (
        "40.0% of the target's choices are actions the log never shows" in guessed.rows[0].reasons
    )
    assert not any(row.trusted for row in [*told.rows, *guessed.rows])


@pytest.mark.parametrize("kind", ["blind", "blurred", "noisy"])
def test_misstated_propensities_move_the_mean_weight(good, kind):
    logged, target_BA, _ = good
    wrong = misstated(logged, kind, derive(3, "wrong"))
    report = evaluate_policy(wrong, target_BA, estimators=[IPS()])
    assert "the mean weight is" in " ".join(report.rows[0].reasons)


def test_equal_weights_that_are_not_1_are_told():
    """Five items at the same chance of 1/5, logged as 1/2: nothing varies, and all is wrong."""
    rng = derive(5, "alike")
    action_B, reward_B = rng.integers(0, 5, 2048), (rng.random(2048) < 0.3).astype(float)
    for stated, mean in ((0.5, 0.4), (0.25, 0.8)):
        logged = Logged(action_B, reward_B, np.full(2048, stated), 5)
        report = evaluate_policy(logged, np.full((2048, 5), 0.2), estimators=[IPS()])
        assert (
            f"the mean weight is {mean:.3f} instead of 1 (in every unit alike)"
            in (report.rows[0].reasons[0])
        )


def test_rounding_of_float32_speaks_against_nothing():
    rng = derive(6, "float32")
    logging_BA = rng.dirichlet(np.ones(5), 3000)
    action_B = (rng.random((3000, 1)) > logging_BA.cumsum(axis=1)).sum(axis=1).clip(max=4)
    reward_B = (rng.random(3000) < 0.3).astype(float)
    logged = Logged(action_B, reward_B, logging_BA[np.arange(3000), action_B], 5)
    target_BA = logging_BA.astype(np.float32) * np.float32(1 + 2e-6)
    assert evaluate_policy(logged, target_BA, estimators=[IPS()]).rows[0].trusted


def test_a_target_far_from_the_log_is_not_trusted_for_its_weights():
    far = BanditWorld(sharpness=5.0, overlap=0.0)
    logged, target_BA, _ = far.log(2000, derive(4, "far"))
    report = evaluate_policy(logged, target_BA)
    words = " ".join(report.row("IPS").reasons)
    assert "weigh as much as" in words
    assert "(Pareto k" in words
    assert "too thin to check what clipping costs" in " ".join(report.row("clipped IPS").reasons)
    assert "too thin to check the reward model" in " ".join(report.row("DM").reasons)


def test_a_wrong_model_is_caught_by_the_residuals(good):
    logged, target_BA, _ = good
    report = evaluate_policy(logged, target_BA, prediction_BA=np.full(target_BA.shape, 0.9))
    assert "the weighted residuals show the model" in " ".join(report.row("DM").reasons)
    assert report.row("DR").trusted
    right = evaluate_policy(logged, target_BA, prediction_BA=np.full(target_BA.shape, 0.378))
    assert right.row("DM").trusted


def test_bernstein_answers_only_where_it_holds(good):
    logged, target_BA, logging_BA = good
    bound = float((BanditWorld().target_MA / BanditWorld().logging_MA).max())
    interval = Bernstein(BernsteinConfig(weight_bound=bound))
    report = evaluate_policy(logged, target_BA, interval=interval, logging_BA=logging_BA)
    defined = {row.result.label for row in report.rows if not np.isnan(row.result.low)}
    assert defined == {"IPS", "DM", "DR"}
    plain = evaluate_policy(logged, target_BA, interval=Asymptotic())
    for name in ("IPS", "DR"):
        assert report.row(name).result.low < plain.row(name).result.low


def test_answers_are_valued_as_a_whole():
    world = SlateWorld()
    logged, target_BA = world.log(2000, derive(5, "answers"))
    report = evaluate_policy(logged, target_BA, estimators=PER_ANSWER)
    assert report.per_answer
    row = report.row("cascade-DR")
    assert row.result.low < world.value < row.result.high
    assert row.result.n == 2000
    assert report.logged.value == pytest.approx(logged.reward_B.sum() / 2000)
    assert 0.0 < report.row("item-position IPS").result.effective_n <= 2000


def test_the_policy_that_acted_must_have_been_able_to(good):
    logged, target_BA, logging_BA = good
    with pytest.raises(DataError, match="but it was shown"):
        evaluate_policy(logged, target_BA, logging_BA=np.where(logging_BA > 0.1, logging_BA, 0.0))
    with pytest.raises(DataError, match="logging_BA has shape"):
        evaluate_policy(logged, target_BA, logging_BA=logging_BA[:, :2])


def test_rewards_of_any_range_take_the_linear_model(good):
    logged, target_BA, _ = good
    minutes = replace(logged, reward_B=60 * logged.reward_B - 5)
    report = evaluate_policy(minutes, target_BA, interval=Asymptotic())
    for row in (report.row("DR"), report.row("SNIPS")):
        assert row.result.low < 60 * BanditWorld().value - 5 < row.result.high
    assert np.isnan(report.diagnostics.tail.rewarded_n)


@pytest.mark.parametrize("k", [0.2, 0.5, 1.0])
def test_pareto_k_finds_the_shape_of_a_known_tail(k):
    found = []
    for seed in range(20):
        body = derive(seed, "tail", str(k)).random(20_000)
        found.append(pareto_k(genpareto.ppf(body, k) + 1))
    assert np.mean(found) == pytest.approx(k, abs=0.08)


def test_pareto_k_of_equal_weights_that_stand_out_is_a_number():
    """Two distinct weights: one candidate of the fit is the exponential law itself."""
    for n in range(1000, 1400):
        tail = int(np.ceil(min(0.2 * n, 3 * np.sqrt(n))))
        assert pareto_k(np.where(np.arange(n) < tail - 1, 3.0, 1.0)) < 0.5


def test_pareto_k_needs_weights_that_stand_out():
    assert np.isnan(pareto_k(np.ones(1000)))
    assert np.isnan(pareto_k(np.zeros(1000)))
    assert np.isnan(pareto_k(np.arange(20.0)))
    assert np.isnan(pareto_k(np.repeat([1.0, 2.0], 500)))


def test_thresholds_are_what_the_config_says():
    tail = weight_tail(np.ones(400), np.ones(400), units_of(None, 400))
    assert weight_reasons(tail, 400) == []
    assert len(weight_reasons(tail, 400, VerdictConfig(effective_n=401, rewarded_n=401))) == 2
    assert model_reasons(0.1, 3.0) == []
    assert model_reasons(0.1, -3.4) == [
        "the weighted residuals show the model +0.1 off (-3.4 standard errors)"
    ]
