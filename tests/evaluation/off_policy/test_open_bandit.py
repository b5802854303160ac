"""Open Bandit sample, uniform policy -> Thompson sampling: the published figures, and the truth covered."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from muma.evaluation.off_policy.direct_method import DirectMethod
from muma.evaluation.off_policy.doubly_robust import DoublyRobust
from muma.evaluation.off_policy.evaluate import estimate, evaluate_policy
from muma.evaluation.off_policy.ips import IPS
from muma.evaluation.off_policy.per_position import PerPosition
from muma.testing import open_bandit


@dataclass(frozen=True)
class Published:
    """scikit-learn's regression on unscaled user and item columns."""

    items: np.ndarray
    fitted: LogisticRegression | None = None

    def fit(self, logged):
        columns = np.c_[logged.context_BF, self.items[logged.action_B]]
        peer = LogisticRegression(max_iter=1000).fit(columns, logged.reward_B)
        return Published(self.items, peer)

    def predict(self, logged):
        width = logged.context_BF.shape[1]
        weight = self.fitted.coef_[0]
        users = logged.context_BF @ weight[:width]
        return expit(users[:, None] + self.items @ weight[width:] + self.fitted.intercept_[0])


@pytest.fixture(scope="module", params=["all", "men"])
def campaign(request, published):
    root = published / "open-bandit"
    if not root.is_dir():
        pytest.skip(f"no Open Bandit sample in {published}")
    logged = open_bandit.read_log(root, "random", request.param)
    policy_KA = open_bandit.sampled_policy(*open_bandit.read_prior(root, request.param))
    target_BA = np.ascontiguousarray(policy_KA[logged.position_B])
    model = PerPosition(Published(open_bandit.read_items(root, request.param)))
    report = evaluate_policy(logged, target_BA, reward_model=model)
    truth = open_bandit.read_log(root, "bts", request.param).reward_B.mean()
    return request.param, logged, policy_KA, report, truth, root


def test_direct_and_doubly_robust_values_are_published_too(campaign):
    name, logged, policy_KA, _, _, root = campaign
    if name != "all":
        pytest.skip("the study published these for the campaign of all")
    seen = open_bandit.read_log(root, "random", name, all_codes=False)
    model = PerPosition(Published(open_bandit.read_items(root, name)))
    prediction = np.empty((len(seen), seen.n_actions))
    for rest, fold in KFold(3, shuffle=True, random_state=12345).split(seen.action_B):
        prediction[fold] = model.fit(seen.rows(rest)).predict(seen.rows(fold))
    target = policy_KA[logged.position_B]
    for estimator, value in ((DirectMethod(), 0.003545), (DoublyRobust(), 0.004727)):
        ours = estimate(estimator, logged, target, prediction_BA=prediction).value
        assert ours == pytest.approx(value, abs=2e-6)


def test_values_are_the_published_ones(campaign):
    name, _, _, report, truth, _ = campaign
    assert truth == pytest.approx({"all": 0.0042, "men": 0.0069}[name])
    if name == "all":
        assert f"{report.row('IPS').result.value:.6f}" == "0.004553"
        assert f"{report.row('SNIPS').result.value:.5f}" == "0.00478"
        assert report.diagnostics.tail.effective_n == pytest.approx(1640, abs=5)
        # 0.003438 and 0.003545 were published for DM, 0.004701 and 0.004727 for DR
        assert report.row("DM").result.value == pytest.approx(0.0035, abs=0.00015)
        assert report.row("DR").result.value == pytest.approx(0.00475, abs=0.00015)


def test_intervals_cover_what_the_policy_earned_itself(campaign):
    *_, report, truth, _ = campaign
    for row in report.rows:
        if row.consistent:
            assert row.result.low < truth < row.result.high, row


def test_few_clicks_under_large_weights_are_not_trusted(campaign):
    name, _, _, report, _, _ = campaign
    if name == "all":
        assert "it rests on the weight of 4.7 rewarded rounds" in report.row("IPS").reasons
        assert not any(row.trusted for row in report.rows)
    else:
        assert report.row("IPS").trusted


def test_the_drawn_policy_is_the_exact_one_up_to_its_noise(campaign):
    name, logged, policy_KA, report, _, root = campaign
    exact_KA = open_bandit.exact_policy(*open_bandit.read_prior(root, name))
    np.testing.assert_allclose(exact_KA.sum(axis=1), 1, atol=1e-6)
    spread_KA = np.sqrt(exact_KA * (1 - exact_KA) / 100_000)
    assert (np.abs(policy_KA - exact_KA) < 5 * spread_KA + 2e-5).all()
    target_BA = np.ascontiguousarray(exact_KA[logged.position_B])
    exact = estimate(IPS(), logged, target_BA).value
    assert exact == pytest.approx(report.row("IPS").result.value, rel=0.01)
