"""The interest network and its rivals on recipes with a global-time split: KuaiRand, Globo.

    python benchmarks/interest_recipes.py --json
    python benchmarks/interest_recipes.py --recipes kuairand --seeds 1 --json
    python benchmarks/interest_recipes.py --quick --json     # trains very little

Data, split, targets and masking are the recipe's. The LSTM alone, GRU4Rec and SASRec run in the same
trainer, with the same sizes, epochs and grid as the network; `fused` is the network with author, tags
and duration fused into each event, and once more with one of them masked at inference. The learning rate (and on Globo, where
articles die within hours, the half-life of today's shares) with the greatest NDCG@10 on the validation
window, one seed. With that every seed is trained on all that comes before the test window. Means are
over seeds a user; intervals are 95 % bootstrap percentiles over users, differences are paired.
Trainings are kept in benchmarks/.cache and go on where they were stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import common
from interest import HALF_LIVES, SOURCES
from interest_runs import ATTENTION, GRU, LEARNED, PRECISION
from movielens import CACHE
from muma.app.config import AppConfig, read_recipe
from muma.app.ingestion import prepare
from muma.app.metrics import metrics_of
from muma.app.models import Chosen, Tuner
from muma.app.truth import Task, task_of
from muma.candidates.interest import InterestSource
from muma.config import build, parse
from muma.evaluation.full_ranking import evaluate_lists
from muma.evaluation.intervals import bootstrap_means, paired_difference
from muma.evaluation.metrics.ndcg import NDCG
from muma.rng import derive

HOME = Path(__file__).parents[1]
SEED = 1
KEY = "ndcg@10"
LENGTH = 50
RATES = [2e-3, 6e-3]
NETWORK: dict[str, Any] = {
    "use": "muma.candidates.interest.InterestSource",
    "network": {"max_length": LENGTH, "dropout": 0.3},
    "training": {
        "threads": 1,
        "precision": PRECISION,
        "batching": {"length": LENGTH, "size": 128},
    },
}
MODELS: dict[str, dict[str, Any]] = {
    "network": {},
    "lstm": {"attention": False},
    "gru4rec": {"recurrent": {"use": GRU}, "attention": False},
    "sasrec": {"recurrent": False, "attention": {**ATTENTION, "blocks": 2, "position": LEARNED}},
    "fused": {},
}


def compared(recipe: str, names: list[str], epochs: int, runs: Path) -> AppConfig:
    """The recipe with these models instead of its own."""
    plain = read_recipe(
        HOME / "recipes" / f"{recipe}.toml", overrides=[f"runs={str(runs)!r}"]
    ).model_dump(mode="json")
    grid = {"learning_rate": RATES, "prior_half_life_days": HALF_LIVES[recipe]}
    plain["candidates"]["models"] = {
        name: {
            **NETWORK, "network": {**NETWORK["network"], **MODELS[name]}, "epochs": epochs,
            "tune": grid,
            **({"fusion": SOURCES[recipe]} if name == "fused" else {}),
        }
        for name in names
    }  # fmt: skip
    plain["candidates"]["serve"] = names[0]
    plain["evaluation"]["baseline"] = names[0]
    return parse(AppConfig, plain | {"features": {}, "ranking": None})


def task(config: AppConfig, history: Any, later: Any, most: int | None = None) -> Task:
    """Whom to measure after `history`; at most `most` of them."""
    settings = config.evaluation
    found = task_of(
        history, later, target=settings.target, taken=config.candidates.signal,
        mask_seen=settings.mask_seen,
    )  # fmt: skip
    if most is None or len(found.user_B) <= most:
        return found
    drawn = derive(SEED, "users").choice(len(found.user_B), most, replace=False)
    return found.rows(np.sort(drawn))


def measured(recipe: str, options: argparse.Namespace) -> dict[str, object]:
    """Every model on one recipe, and the network minus each of the others."""
    names = [name for name in options.models if name != "fused" or recipe in SOURCES]
    config = compared(recipe, names, options.epochs, CACHE / "recipes")
    _, primary = metrics_of(config)
    folder = config.folder / "log"
    split = build(config.events.split, where="events.split", methods=("split",)).split(
        prepare(config.events, folder).log
    )
    valid = task(config, split.train, split.validation, config.evaluation.tuning_users)
    test = task(config, split.before_test, split.test)
    tuner = Tuner(config, split.train, valid, primary)
    result: dict[str, object] = {f"{recipe}_users": len(test.user_B)}
    mean: dict[str, np.ndarray] = {}
    removed: dict[str, list[np.ndarray]] = {}
    for name in names:
        chosen = tuner.choose(name)
        tuner.fitted.clear()
        parameters, result[f"{recipe}_{name}_validation"] = best(chosen)
        result |= {f"{recipe}_{name}_{key}": value for key, value in parameters.items()}
        values = []
        for seed in options.seeds:
            spec = chosen.spec.model_copy(update={"seed": seed})
            source = tuner.new(name, spec).fit(split.before_test)
            values.append(ndcg(source, test))
            print(f"{recipe} {name} {seed}: {values[-1].mean():.4f}", file=sys.stderr)
            for missing in SOURCES[recipe]["encoders"] if name == "fused" else ():
                fewer = source.without(missing)
                removed.setdefault(missing, []).append(ndcg(fewer, test))
        mean[name] = np.mean(values, axis=0)
        scores = [float(value.mean()) for value in values]
        result[f"{recipe}_{name}_seed_spread"] = round(max(scores) - min(scores), 4)
    for name, found in bootstrap_means(mean, seed=SEED).items():
        put(result, f"{recipe}_{name}_ndcg10", found)
    first, *others = names
    for other in others:
        gap = paired_difference(mean[first], mean[other], seed=SEED)
        put(result, f"{recipe}_{first}_minus_{other}_ndcg10", gap)
    for missing, values in removed.items():
        gap = paired_difference(np.mean(values, axis=0), mean["fused"], seed=SEED)
        put(result, f"{recipe}_fused_without_{missing}_minus_fused_ndcg10", gap)
    return result


def ndcg(source: InterestSource, test: Task) -> np.ndarray:
    """NDCG@10 of every user of the task."""
    found = source.propose(test.user_B, NDCG().k, exclude=test.exclude)
    return evaluate_lists(found.item_BN, test.truth, metrics=[NDCG()]).per_user[KEY]


def best(chosen: Chosen) -> tuple[dict[str, Any], float]:
    """The parameters that were chosen, and their value on validation."""
    parameters, value = max(chosen.tried, key=lambda row: row[1])
    return parameters, round(value, 4)


def put(result: dict[str, object], key: str, found: Any) -> None:
    """A value with its interval."""
    result[key] = round(found.value, 4)
    result[f"{key}_low"], result[f"{key}_high"] = round(found.low, 4), round(found.high, 4)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    parser.add_argument("--quick", action="store_true", help="one epoch of two models on KuaiRand")
    parser.add_argument("--recipes", nargs="+", choices=list(HALF_LIVES), default=list(HALF_LIVES))
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    if options.quick:
        options.recipes, options.models = ["kuairand"], ["network", "lstm"]
        options.seeds, options.epochs = [1], 1
    os.chdir(HOME)  # the recipes name their data from there
    began = time.perf_counter()
    result: dict[str, object] = {}
    for recipe in options.recipes:
        result |= measured(recipe, options)
    result |= {
        "epochs": options.epochs,
        "seeds": len(options.seeds),
        "precision": PRECISION,
        "quick": "one epoch: not a result" if options.quick else False,
        "seconds": round(time.perf_counter() - began, 1),
    }
    common.emit(result, as_json=options.json)


if __name__ == "__main__":
    with threadpool_limits(1, "blas"):  # spinning threads on a busy machine cost tenfold
        main()
