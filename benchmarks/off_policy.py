"""Off-policy estimators on the Open Bandit sample, and what an estimate costs.

    python benchmarks/off_policy.py --json
    python benchmarks/off_policy.py --quick --json

1. `<campaign>_<estimator>` with `_low` and `_high` (95 % bootstrap interval): the value of Bernoulli
   Thompson sampling estimated from 10,000 rounds of the uniform policy; `<campaign>_on_policy` is the
   click rate in the policy's own log (10,000 rounds, its own interval beside it), `..._covers` whether
   the interval holds it, `..._asymptotic_covers` the same for the normal interval, `..._trusted` the
   verdict. The policy is rebuilt with the published study's Monte Carlo draws; `<campaign>_ipw_exact`
   uses quadrature instead, so its distance from `_ipw` is the Monte Carlo error. Reward model: logistic
   on user and item features, one a position. `all_dm_least` to `all_dm_most` (and `dr`) are over 20 deals
   of the folds; `all_dm_published_model_least` and so on the same with scikit-learn's regression on
   unscaled columns, as the published study fitted it; `all_dm_published_deal` on the study's own folds, too
   (published: DM .003545, DR .004727).
2. `ipw_ms`, `dr_ms`: one estimate with its asymptotic interval on 10,000 rounds x 80 actions, checks of
   all inputs included, best of many; `ipw_ratio_obp_published` = 13 ms / ours, `dr_ratio_obp_published`
   = 16 ms / ours (obp's times as measured earlier on such a machine; obp needs Python below 3.11).

Needs the data set for 1: set MUMA_DATA to the folder that holds `open-bandit/`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

import common
from muma.evaluation.off_policy.asymptotic import Asymptotic
from muma.evaluation.off_policy.direct_method import DirectMethod
from muma.evaluation.off_policy.doubly_robust import DoublyRobust
from muma.evaluation.off_policy.estimator import Estimator
from muma.evaluation.off_policy.evaluate import estimate, evaluate_policy
from muma.evaluation.off_policy.ips import IPS
from muma.evaluation.off_policy.logged import Logged
from muma.evaluation.off_policy.logistic_reward import LogisticReward, LogisticRewardConfig
from muma.evaluation.off_policy.per_position import PerPosition
from muma.evaluation.off_policy.reward_model import cross_fit
from muma.rng import derive
from muma.testing import open_bandit

HOME = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("MUMA_DATA") or HOME.parent / "shared" / "data") / "open-bandit"
KEYS = {
    "IPS": "ipw", "SNIPS": "snipw", "clipped IPS": "clipped", "beta*-IPS": "beta_ips", "DM": "dm",
    "DR": "dr", "SNDR": "sndr", "switch-DR": "switch_dr", "DR, shrunk": "dr_shrunk",
}  # fmt: skip
OBP_MS = {"ipw": 13.0, "dr": 16.0}


def campaign(name: str, deals: int) -> dict[str, Any]:
    logged = open_bandit.read_log(DATA, "random", name)
    own = open_bandit.read_log(DATA, "bts", name)
    prior = open_bandit.read_prior(DATA, name)
    target_BA, exact_BA = (
        np.ascontiguousarray(policy_KA[logged.position_B])
        for policy_KA in (open_bandit.sampled_policy(*prior), open_bandit.exact_policy(*prior))
    )
    items_AG = open_bandit.read_items(DATA, name)
    model = PerPosition(LogisticReward(LogisticRewardConfig(identity=False), action_AG=items_AG))
    q_BA = cross_fit(model, logged)
    reports = {
        "": evaluate_policy(logged, target_BA, prediction_BA=q_BA),
        "_asymptotic": evaluate_policy(
            logged, target_BA, prediction_BA=q_BA, interval=Asymptotic()
        ),
    }
    truth = float(own.reward_B.mean())
    noise = 1.96 * own.reward_B.std(ddof=1) / len(own) ** 0.5
    found: dict[str, Any] = {
        f"{name}_on_policy": truth,
        f"{name}_on_policy_low": truth - noise,
        f"{name}_on_policy_high": truth + noise,
        f"{name}_effective_n": reports[""].diagnostics.tail.effective_n,
        f"{name}_mean_weight": reports[""].diagnostics.mean_weight,
        f"{name}_ipw_exact": estimate(IPS(), logged, exact_BA).value,
    }
    for row in reports[""].rows:
        key = f"{name}_{KEYS[row.result.label]}"
        found[key] = row.result.value
        found[f"{key}_low"], found[f"{key}_high"] = row.result.low, row.result.high
        found[f"{key}_trusted"] = int(row.trusted)
    for kind, report in reports.items():
        for row in report.rows:
            if row.consistent:
                covers = row.result.low <= truth <= row.result.high
                found[f"{name}_{KEYS[row.result.label]}{kind}_covers"] = int(covers)
    models = {"": model, "_published_model": PerPosition(PublishedReward(items_AG))}
    for kind, fitted in models.items():
        values: dict[str, list[float]] = {"DM": [], "DR": []}
        for deal in range(deals):
            dealt_BA = cross_fit(fitted, logged, seed=deal)
            for estimator in (DirectMethod(), DoublyRobust()):
                result = estimate(
                    estimator, logged, target_BA, prediction_BA=dealt_BA, interval=Asymptotic()
                )
                values[estimator.name].append(result.value)
        for label, value in values.items():
            found[f"{name}_{KEYS[label]}{kind}_least"] = min(value)
            found[f"{name}_{KEYS[label]}{kind}_most"] = max(value)
    dealt_BA = published_deal(name, items_AG)
    for estimator in (DirectMethod(), DoublyRobust()):
        result = estimate(estimator, logged, target_BA, prediction_BA=dealt_BA)
        found[f"{name}_{KEYS[estimator.name]}_published_deal"] = result.value
    return found


def published_deal(name: str, items_AG: np.ndarray) -> np.ndarray:
    """Predictions of the study's model on the study's own folds, float64 [B, A]."""
    seen = open_bandit.read_log(DATA, "random", name, all_codes=False)
    model = PerPosition(PublishedReward(items_AG))
    prediction_BA = np.empty((len(seen), seen.n_actions))
    for rest, fold in KFold(3, shuffle=True, random_state=12345).split(seen.action_B):
        prediction_BA[fold] = model.fit(seen.rows(rest)).predict(seen.rows(fold))
    return prediction_BA


class PublishedReward:
    """The study's reward model: scikit-learn's logistic regression on unscaled user and item columns."""

    def __init__(self, items_AG: np.ndarray) -> None:
        self._items_AG = items_AG

    def fit(self, logged: Logged) -> FittedPublished:
        columns_BX = np.c_[logged.context_BF, self._items_AG[logged.action_B]]
        fitted = LogisticRegression(max_iter=1000).fit(columns_BX, logged.reward_B)
        return FittedPublished(self._items_AG, fitted.coef_[0], float(fitted.intercept_[0]))


@dataclass(frozen=True)
class FittedPublished:
    items_AG: np.ndarray
    weight_X: np.ndarray
    intercept: float

    def predict(self, logged: Logged) -> np.ndarray:
        context_BF = np.asarray(logged.context_BF, dtype=np.float64)
        width = context_BF.shape[1]
        user_B = context_BF @ self.weight_X[:width]
        return expit(
            self.intercept + user_B[:, None] + (self.items_AG @ self.weight_X[width:])[None, :]
        )


def speed(repeats: int) -> dict[str, float]:
    rng = derive(1, "speed")
    n, actions = 10_000, 80
    target_BA = rng.dirichlet(np.ones(actions), size=n)
    q_BA = rng.random((n, actions))
    logged = Logged(
        rng.integers(0, actions, n), (rng.random(n) < 0.1).astype(np.float64),
        np.full(n, 1 / actions), actions,
    )  # fmt: skip
    found = {}
    asked: dict[str, tuple[Estimator, np.ndarray | None]] = {
        "ipw": (IPS(), None),
        "dr": (DoublyRobust(), q_BA),
    }
    for key, (estimator, prediction_BA) in asked.items():
        took, _ = common.seconds(
            lambda e=estimator, q=prediction_BA: estimate(
                e, logged, target_BA, prediction_BA=q, interval=Asymptotic()
            ),
            repeats=repeats,
        )
        found[f"{key}_ms"] = took * 1e3
        found[f"{key}_ratio_obp_published"] = OBP_MS[key] / (took * 1e3)
    return found


def main() -> None:
    """Command line."""
    args = common.parser(__doc__).parse_args()
    result: dict[str, Any] = speed(50 if args.quick else 300)
    for name in ("all", "men") if DATA.is_dir() else ():
        result |= campaign(name, 3 if args.quick else 20)
    if not DATA.is_dir():
        result["open_bandit"] = "absent: set MUMA_DATA to the folder that holds open-bandit/"
    common.emit(result, as_json=args.json)


if __name__ == "__main__":
    main()
