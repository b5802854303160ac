"""A search for an engine's parameters within a budget, the same for every engine or baseline.

Optuna's TPE sampler (Bergstra et al., "Algorithms for hyper-parameter optimization", NeurIPS 2011). A
trial grows its trees in rungs by `fit_more` and ends early when it lies behind the median of earlier
trials at the same rung. With a folder every trial is kept in a journal, and a search goes on from it.

Shape: N examples.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from muma.artifact import digest
from muma.config import Config, Spec, build
from muma.errors import ConfigError
from muma.optional import require
from muma.progress import track
from muma.ranking.calibration import log_loss
from muma.ranking.fusing import ndcg
from muma.ranking.ranker import Examples

optuna = require("optuna", extra="rank")


class Range(Config):
    """Values of one parameter.

    Attributes:
        low: smallest.
        high: largest.
        log: draw on a logarithmic scale.
        whole: integers only.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False


class SearchConfig(Config):
    """Parameters of `search`.

    Attributes:
        trials: trials in all, those of earlier runs of the same folder included.
        seconds: wall time after which no new trial starts; None has no limit.
        rungs: parts in which a trial's trees are grown; it may be ended after each.
        startup: trials before any is ended early.
        space: parameter -> its range; the rest stay as the spec has them.
        seed: of the sampler.
    """

    trials: int = Field(default=30, ge=1)
    seconds: float | None = Field(default=None, gt=0)
    rungs: int = Field(default=4, ge=1)
    startup: int = Field(default=5, ge=1)
    space: dict[str, Range] = {
        "leaves": Range(low=7, high=63, log=True, whole=True),
        "learning_rate": Range(low=0.02, high=0.3, log=True),
        "l2": Range(low=0.1, high=100.0, log=True),
        "column_share": Range(low=0.3, high=1.0),
        "row_share": Range(low=0.5, high=1.0),
        "min_hessian": Range(low=0.1, high=50.0, log=True),
    }
    seed: int = 0


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        spec: the engine with the best parameters.
        loss: its mean log loss on `valid`, or 1 - NDCG@10 for a rank loss.
        trials: a row a trial: number, state, loss, seconds, parameters.
    """

    spec: Spec
    loss: float
    trials: pl.DataFrame


def search(
    spec: Spec,
    train: Examples,
    valid: Examples,
    config: SearchConfig | None = None,
    *,
    folder: str | Path | None = None,
) -> Found:
    """Search the parameters of the engine that `spec` names.

    Args:
        spec: engine with the parameters that stay.
        train: what each trial learns from.
        valid: later in time; what it is judged by.
        config: budget and space.
        folder: where trials are kept; None keeps nothing.

    Raises:
        ConfigError: no trial ended within the budget, or the folder holds another search.
    """
    config = config or SearchConfig()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        study_name="search",
        storage=None if folder is None else _storage(Path(folder), spec, config),
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=config.seed, n_startup_trials=config.startup),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=config.startup),
    )
    start, done = time.perf_counter(), len(study.trials)
    for _ in track(range(config.trials - done), label="search"):
        if config.seconds is not None and time.perf_counter() - start >= config.seconds:
            break
        study.optimize(lambda trial: _tried(trial, spec, train, valid, config), n_trials=1)
    table = _table(study)
    if table.filter(pl.col("state") == "complete").is_empty():
        raise ConfigError("no trial of the search ended; allow more trials or seconds")
    best = Spec.model_validate({**spec.model_dump(), **study.best_params})
    return Found(best, float(study.best_value), table)


def _tried(trial: Any, spec: Spec, train: Examples, valid: Examples, config: SearchConfig) -> float:
    params: dict[str, Any] = {
        name: _drawn(trial, name, given) for name, given in config.space.items()
    }
    trees = build(spec, where="search").config.trees
    rung = math.ceil(trees / config.rungs)
    engine = build(spec, where="search", **params, trees=rung, more_trees=rung)
    engine.fit(train)
    loss = _loss(engine.margin(valid.value_NF), valid, engine.config.objective)
    for step in range(1, config.rungs):
        trial.report(loss, step)
        if trial.should_prune():
            raise optuna.TrialPruned
        engine.fit_more(train)
        loss = _loss(engine.margin(valid.value_NF), valid, engine.config.objective)
    return loss


def _drawn(trial: Any, name: str, given: Range) -> float | int:
    if given.whole:
        return trial.suggest_int(name, int(given.low), int(given.high), log=given.log)
    return trial.suggest_float(name, given.low, given.high, log=given.log)


def _loss(margin_N: np.ndarray, valid: Examples, objective: str) -> float:
    weight_N = valid.weight_N
    if objective == "binary":
        return float(np.average(log_loss(margin_N, valid.label_N), weights=weight_N))
    _, list_N = np.unique(valid.group_N, return_inverse=True)
    judged_G = np.bincount(list_N, valid.label_N > 0) > 0
    return float(1 - ndcg(margin_N, valid.label_N, list_N, k=10)[judged_G].mean())


def _storage(folder: Path, spec: Spec, config: SearchConfig) -> Any:
    """The journal of a folder, which belongs to one engine, space and seed."""
    folder.mkdir(parents=True, exist_ok=True)
    space = config.model_dump(include={"space", "seed", "rungs", "startup"})
    text = json.dumps({"spec": spec.model_dump(), **space}, sort_keys=True)
    named = folder / "search.json"
    if named.exists() and named.read_text(encoding="utf-8") != text:
        raise ConfigError(
            f"{folder} holds another search ({digest(named)[:8]}); name another folder, or search "
            "the same engine and space with the same seed"
        )
    named.write_text(text, encoding="utf-8")
    journal = optuna.storages.journal
    return optuna.storages.JournalStorage(journal.JournalFileBackend(str(folder / "trials.log")))


def _table(study: Any) -> pl.DataFrame:
    rows = [
        {
            "number": trial.number,
            "state": trial.state.name.lower(),
            "loss": trial.value,
            "seconds": trial.duration.total_seconds() if trial.duration else None,
            **trial.params,
        }
        for trial in study.trials
    ]
    return pl.DataFrame(rows, infer_schema_length=None)
