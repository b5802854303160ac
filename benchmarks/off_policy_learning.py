"""Policies learned from logged decisions: true gains in a known world, judged ones on Open Bandit.

    python benchmarks/off_policy_learning.py --json
    python benchmarks/off_policy_learning.py --quick --json

1. `world_*`: worlds of 6 actions and 3 context features whose chances are known (muma.testing.choice_world),
   one for each run. `world_<n>_<kind>_closed` is the share of the way from the logging policy to the best
   one that a policy learned from n rounds goes in truth (1 is perfect, below 0 is worse than logging);
   mean over runs with a t interval. Kinds: `snips`, `ips`, `dr` (its reward model lacks the products of
   action and context, so it is wrong); beside them `constant`, the best constant action by its estimated
   value, and `greedy`, the action with the largest predicted reward by a logistic model of the world's own
   form (`_right`) and by the wrong one (`_wrong`). `world_variance_*` is learning by ips, l2 fixed, with
   and without the variance penalty.
2. `world_<n>_covers`: share of runs in which the cross-fitted 95 % interval of the gain over the logging
   policy (SNIPS, 5 folds) holds the true gain; `world_<n>_found` in which it lies above 0, and
   `noise_found`, the same where neither context nor action matters (should be 0.025 or less).
3. `<campaign>_<features>_*`: Open Bandit sample, 10,000 rounds of the uniform policy: clicks a slot of
   the policies learned in 5 folds by SNIPS, judged on the held-out fold, and their gains over the uniform
   policy and over the best constant item, paired, in clicks a slot; `_holds_zero` says that the interval
   does. Actions are told apart by `item` (one-hot) or by `content` (item features).

Needs the data set for 3: set MUMA_DATA to the folder that holds `open-bandit/`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

import common
from muma.evaluation.off_policy.learning.judgement import best_constant, judge_learning
from muma.evaluation.off_policy.learning.learn import (
    LearnConfig,
    context_of,
    learn_policy,
    maximise,
)
from muma.evaluation.off_policy.learning.objective import Objective
from muma.evaluation.off_policy.learning.softmax import LinearSoftmax
from muma.evaluation.off_policy.logged import Logged
from muma.evaluation.off_policy.logistic_reward import LogisticReward, LogisticRewardConfig
from muma.evaluation.off_policy.snips import SNIPS
from muma.rng import derive
from muma.testing import open_bandit
from muma.testing.choice_world import ChoiceWorld

HOME = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("MUMA_DATA") or HOME.parent / "shared" / "data") / "open-bandit"
MODELS = {
    "right": LogisticReward(LogisticRewardConfig(interaction=True)),
    "wrong": LogisticReward(),
}


class Truth:
    """True values in a world, on contexts that no log holds."""

    def __init__(self, world: ChoiceWorld) -> None:
        self.context_BF = world.contexts(20_000)
        self.chance_BA = world.chance(self.context_BF)
        self.best = self.chance_BA.max(axis=1).mean()
        self.logging = self.value(world.logging(self.context_BF))

    def value(self, target_BA: np.ndarray) -> float:
        return float((target_BA * self.chance_BA).sum(axis=1).mean())

    def of(self, policy: LinearSoftmax) -> float:
        return self.value(policy.probabilities(self.context_BF))

    def closed(self, value: float) -> float:
        return (value - self.logging) / (self.best - self.logging)

    def greedy(self, model: LogisticReward, log: Logged) -> float:
        n = len(self.context_BF)
        asked = Logged(
            np.zeros(n, int), np.zeros(n), np.ones(n), log.n_actions, context_BF=self.context_BF
        )
        choice_B = model.fit(log).predict(asked).argmax(axis=1)
        return float(self.chance_BA[np.arange(n), choice_B].mean())


def worlds(n: int, runs: int) -> dict[str, float]:
    closed: dict[str, list[float]] = {}
    for run in range(runs):
        world = ChoiceWorld(seed=run)
        truth, log = Truth(world), world.log(n, derive(run, "learning", n))
        values = {
            kind: truth.of(
                learn_policy(
                    log, LearnConfig(kind=kind), reward_model=MODELS["wrong"], seed=run
                ).policy
            )
            for kind in ("snips", "ips", "dr")
        }
        constant = best_constant(log, caution=1.0)
        values["constant"] = float(truth.chance_BA[:, constant].mean())
        for name, model in MODELS.items():
            values[f"greedy_{name}"] = truth.greedy(model, log)
        for name, value in values.items():
            closed.setdefault(name, []).append(truth.closed(value))
    return {
        key: number
        for name, values in closed.items()
        for key, number in interval(f"world_{n}_{name}_closed", values).items()
    }


def interval(name: str, values: list[float]) -> dict[str, float]:
    """Mean over runs with its t interval."""
    mean, n = float(np.mean(values)), len(values)
    half = float(np.std(values, ddof=1) / n**0.5 * student.ppf(0.975, n - 1))
    return {name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half}


def variance(n: int, runs: int) -> dict[str, float]:
    """Plain IPS with and without the penalty, everything else alike."""
    closed: dict[str, list[float]] = {"with": [], "without": []}
    for run in range(runs):
        world = ChoiceWorld(seed=run)
        truth, log = Truth(world), world.log(n, derive(run, "variance", n))
        start = LinearSoftmax.uniform(action_AD=np.eye(6), context_BF=context_of(log))
        for name, penalty in (("with", 1.0), ("without", 0.0)):
            objective = Objective(log, "ips", variance=penalty)
            policy = maximise(objective, start, log, l2=1e-4, iterations=100)
            closed[name].append(truth.closed(truth.of(policy)))
    pairs = [a - b for a, b in zip(closed["with"], closed["without"], strict=True)]
    return {
        **interval("world_variance_with_closed", closed["with"]),
        **interval("world_variance_without_closed", closed["without"]),
        **interval("world_variance_gain", pairs),
    }


def judged(n: int, runs: int) -> dict[str, float]:
    """Does the cross-fitted interval tell the truth?"""
    covers = found = 0
    for run in range(runs):
        world = ChoiceWorld(seed=run)
        truth, log = Truth(world), world.log(n, derive(run, "judged", n))
        told = judge_learning(log, estimator=SNIPS(), seed=run)
        gain = np.mean([truth.of(one.policy) for one in told.learned_K]) - truth.logging
        covers += told.over_logging.low <= gain <= told.over_logging.high
        found += told.over_logging.low > 0
    return {f"world_{n}_covers": float(covers / runs), f"world_{n}_found": found / runs}


def noise(n: int, runs: int) -> dict[str, float]:
    """Rewards that nothing explains."""
    found = 0
    for run in range(runs):
        rng = derive(run, "noise")
        log = ChoiceWorld(seed=run).log(n, rng)
        log = replace(log, reward_B=(rng.random(n) < 0.3).astype(float))
        found += judge_learning(log, estimator=SNIPS(), seed=run).over_logging.low > 0
    return {"noise_found": found / runs, "noise_runs": runs}


def campaign(name: str, features: str, config: LearnConfig, folds: int) -> dict[str, Any]:
    log = open_bandit.read_log(DATA, "random", name)
    action_AD = None
    if features == "content":
        items_AG = open_bandit.read_items(DATA, name)
        spread_G = items_AG.std(axis=0)
        action_AD = (items_AG - items_AG.mean(axis=0)) / np.where(spread_G > 0, spread_G, 1)
    told = judge_learning(log, config, estimator=SNIPS(), action_AD=action_AD, folds=folds, seed=0)
    results = {
        "value": told.value,
        "uniform": told.logging,
        "gain": told.over_logging,
        "gain_over_constant": told.over_constant,
    }
    found: dict[str, Any] = {}
    for key, one in results.items():
        found[f"{name}_{features}_{key}"] = one.value
        found[f"{name}_{features}_{key}_low"] = one.low
        found[f"{name}_{features}_{key}_high"] = one.high
        if key.startswith("gain"):
            found[f"{name}_{features}_{key}_holds_zero"] = int(not one.excludes(0.0))
    found[f"{name}_{features}_effective_n"] = told.value.effective_n
    return found


def main() -> None:
    """Command line."""
    args = common.parser(__doc__).parse_args()
    quick = args.quick
    result: dict[str, Any] = {}
    for n in (1000,) if quick else (500, 2000, 8000):
        result |= worlds(n, 3 if quick else 20)
        print(n, result, file=sys.stderr)
    result |= variance(500, 3 if quick else 50)
    result |= judged(1000 if quick else 2000, 3 if quick else 60)
    result |= noise(500 if quick else 1000, 3 if quick else 60)
    config = (
        LearnConfig(variances=(1.0,), l2s=(1e-2, 1e-1))
        if quick
        else LearnConfig(l2s=(1e-3, 1e-2, 1e-1))
    )
    for name in ("men",) if quick else ("all", "men"):
        for features in ("content",) if quick else ("item", "content"):
            result |= campaign(name, features, config, 2 if quick else 5)
            print(result, file=sys.stderr)
    common.emit(result, as_json=args.json)


if __name__ == "__main__":
    main()
