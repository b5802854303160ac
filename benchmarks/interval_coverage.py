"""Off-policy estimators on worlds of known value: do intervals cover, and who errs least when.

    python benchmarks/interval_coverage.py --json
    python benchmarks/interval_coverage.py --quick --json

1. `coverage_<world>_<estimator>_<interval>`: share of repetitions whose 95 % interval holds the true
   value, for the estimators that promise it; `_low` and `_high` are the exact binomial 95 % interval of
   that share (2,000 repetitions: standard error 0.005), `too_low_...` the share of repetitions whose
   interval lies below the value (even tails: .025). Worlds: `common` (2,000 rounds, 10 actions,
   reward rate 0.38), `rare` (5,000 rounds, rate 0.028), `users` (500 users of 4 rounds who keep context
   and luck; `naive` ignores that they belong together), `answers` (500 answers of three slots, the slot
   above matters; probabilities given the slots above) and `positions` (slots that do not matter to each
   other, marginal probabilities). `coverage_inside` of `coverage_cells` cells that promise 95 % have 93
   to 97 %;
2. `rmse_<model>_<propensity>_<estimator>`: root mean squared error on 1,000 rounds with the reward model
   right (it knows the context) or wrong (it does not), propensities `true` or misstated: `blind` (the
   frequency of the action in the log), `blurred` (half way to that) or `noisy` (odds times lognormal
   noise of 0.5);
   `distrusted_<propensity>`: share of repetitions in which the overlap's verdict is not to trust it;
   `dr_beaten_<model>_<propensity>`: the estimators whose squared error is lower than DR's with a paired
   95 % interval below zero; `dr_lowest_or_tied_...`: 1 where there are none; the same for `sndr`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import binomtest

import common
from muma.evaluation.off_policy.asymptotic import Asymptotic
from muma.evaluation.off_policy.bootstrap import Bootstrap, BootstrapConfig
from muma.evaluation.off_policy.cascade_model import cross_fit_to_end
from muma.evaluation.off_policy.diagnostics import diagnose
from muma.evaluation.off_policy.estimator import Estimator, Rounds, view
from muma.evaluation.off_policy.evaluate import PER_ANSWER, PER_ROUND
from muma.evaluation.off_policy.hall import Hall
from muma.evaluation.off_policy.logged import Logged
from muma.evaluation.off_policy.logistic_reward import LogisticReward, LogisticRewardConfig
from muma.evaluation.off_policy.reward_model import cross_fit
from muma.evaluation.off_policy.ridge_reward import RidgeReward
from muma.evaluation.off_policy.units import Units, units_of
from muma.evaluation.off_policy.verdict import overlap_reasons
from muma.rng import derive
from muma.testing.bandit_world import BanditWorld, misstated
from muma.testing.slate_world import SlateWorld

WORLDS = {
    "common": (BanditWorld(), 2000),
    "rare": (BanditWorld(bias=-4.5), 5000),
    "users": (BanditWorld(per_unit=4), 2000),
}
RIGHT = LogisticReward(LogisticRewardConfig(interaction=True))
PROMISE = (0.93, 0.97)


def key(estimator: Estimator) -> str:
    return (
        estimator.name.lower()
        .replace("*", "")
        .replace(", ", "_")
        .replace("-", "_")
        .replace(" ", "_")
    )


def round_logs(world: BanditWorld, n: int, repetitions: int):
    """Rounds with a right reward model, and true value."""
    for repetition in range(repetitions):
        logged, target_BA, _ = world.log(n, derive(repetition, "coverage"))
        q_BA = cross_fit(RIGHT, logged, seed=repetition)
        yield view(logged, target_BA, prediction_BA=q_BA), world.value


def answer_logs(repetitions: int):
    """Answers with probabilities given the slots above."""
    world = SlateWorld()
    for repetition in range(repetitions):
        logged, target_BA = world.log(500, derive(repetition, "answers"))
        q_BA = cross_fit_to_end(RidgeReward(), logged, target_BA, seed=repetition)
        yield view(logged, target_BA, prediction_BA=q_BA), world.value


def position_logs(repetitions: int):
    """Answers whose slots do not matter to each other, with marginal probabilities."""
    world = SlateWorld(interference=0.0)
    for repetition in range(repetitions):
        logged, target_BA = world.log(500, derive(repetition, "positions"), marginal=True)
        yield view(logged, target_BA), world.value


def coverage(
    name: str, logs, estimators: list[Estimator], repetitions: int, *, naive: bool = False
):
    """Coverage of every estimator under both intervals."""
    hits: dict[str, int] = {}
    below: dict[str, int] = {}
    for repetition, (rounds, value) in enumerate(logs):
        for label, bounds in intervals(rounds, estimators, repetition, naive=naive):
            hits[label] = hits.get(label, 0) + int(bounds[0] <= value <= bounds[1])
            below[label] = below.get(label, 0) + int(bounds[1] < value)
    found: dict[str, float] = {}
    for label, count in hits.items():
        interval = binomtest(count, repetitions).proportion_ci(0.95)
        found[f"coverage_{name}_{label}"] = count / repetitions
        found[f"coverage_{name}_{label}_low"] = float(interval.low)
        found[f"coverage_{name}_{label}_high"] = float(interval.high)
        found[f"too_low_{name}_{label}"] = below[label] / repetitions
    return found


def intervals(rounds: Rounds, estimators: list[Estimator], seed: int, *, naive: bool):
    terms = {key(e): e.terms(rounds) for e in estimators}
    n = len(rounds.logged)
    units = units_of(rounds.logged.units_B, n)
    asked: list[tuple[str, Any, Units]] = [
        ("asymptotic", Asymptotic(), units),
        ("hall", Hall(), units),
        ("bootstrap", Bootstrap(BootstrapConfig(seed=seed, n_resamples=500)), units),
    ]
    if naive:
        asked.append(("naive", Asymptotic(), units_of(None, n)))
    for label, interval, by in asked:
        for name, bounds in interval.bounds(terms, by).items():
            yield f"{name}_{label}", bounds


def grid(repetitions: int) -> dict[str, Any]:
    """Errors with each part right and wrong."""
    world = BanditWorld()
    error: dict[tuple[str, str], dict[str, list[float]]] = {}
    distrusted: dict[str, int] = {}
    for repetition in range(repetitions):
        logged, target_BA, _ = world.log(1000, derive(repetition, "grid"))
        for model in ("right", "wrong"):
            seen = logged if model == "right" else replace(logged, context_BF=None)
            q_BA = cross_fit(RIGHT, seen, seed=repetition)
            for propensity in ("true", "blind", "blurred", "noisy"):
                told: Logged = logged
                if propensity != "true":
                    told = misstated(logged, propensity, derive(repetition, "misstated"))
                rounds = view(told, target_BA, prediction_BA=q_BA)
                if model == "right":
                    refused = bool(overlap_reasons(diagnose(rounds)))
                    distrusted[propensity] = distrusted.get(propensity, 0) + refused
                cell = error.setdefault((model, propensity), {})
                for estimator in PER_ROUND:
                    miss = estimator.terms(rounds).value - world.value
                    cell.setdefault(key(estimator), []).append(miss)
    found: dict[str, Any] = {"rmse_repetitions": repetitions} | {
        f"distrusted_{name}": count / repetitions for name, count in distrusted.items()
    }
    for (model, propensity), cell in error.items():
        square = {name: np.square(miss) for name, miss in cell.items()}
        for name, square_R in square.items():
            found[f"rmse_{model}_{propensity}_{name}"] = float(np.sqrt(square_R.mean()))
        for name in ("dr", "sndr"):
            beaten = [other for other in square if better(square[other], square[name])]
            found[f"{name}_beaten_{model}_{propensity}"] = " ".join(beaten) or "none"
            found[f"{name}_lowest_or_tied_{model}_{propensity}"] = int(not beaten)
    return found


def better(one_R: np.ndarray, other_R: np.ndarray) -> bool:
    """Whether the first squared errors are lower, by a paired 95 % interval."""
    gain_R = other_R - one_R
    return bool(gain_R.mean() > 1.96 * gain_R.std(ddof=1) / len(gain_R) ** 0.5)


def main() -> None:
    """Command line."""
    args = common.parser(__doc__).parse_args()
    repetitions = 25 if args.quick else 2000
    promising = [e for e in PER_ROUND if e.consistent]
    result: dict[str, Any] = {"coverage_repetitions": repetitions}
    for name, (world, n) in WORLDS.items():
        logs = round_logs(world, n, repetitions)
        result |= coverage(name, logs, promising, repetitions, naive=name == "users")
    result |= coverage("answers", answer_logs(repetitions), [PER_ANSWER[1]], repetitions)
    result |= coverage("positions", position_logs(repetitions), [PER_ANSWER[0]], repetitions)
    cells = {
        name: share
        for name, share in result.items()
        if name.startswith("coverage_") and name.endswith(("_asymptotic", "_hall", "_bootstrap"))
    }
    result["coverage_cells"] = len(cells)
    result["coverage_inside"] = sum(PROMISE[0] <= c <= PROMISE[1] for c in cells.values())
    result["coverage_outside"] = (
        " ".join(
            n.removeprefix("coverage_")
            for n, c in cells.items()
            if not PROMISE[0] <= c <= PROMISE[1]
        )
        or "none"
    )
    result |= grid(25 if args.quick else 500)
    common.emit(result, as_json=args.json)


if __name__ == "__main__":
    main()
