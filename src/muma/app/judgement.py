"""What `muma train` reports: how good each ranker is, beside its engines and its ablations.

The numbers rest on the test impressions and are kept in `RUN/ranking/judgement`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from muma.app.ranking_evaluation import (
    Judgement,
    ablations,
    judge,
    pipeline_probabilities,
    test_rows,
)
from muma.app.results import plain
from muma.app.stages import Stages
from muma.app.training import Trained, stage_inputs
from muma.evaluation.metrics.calibration import Reliability, reliability
from muma.evaluation.result import Result
from muma.progress import track
from muma.ranking.pair import Pair

NAME = "judgement.json"


@dataclass(frozen=True)
class Weighing:
    """How a pair's engines were weighed.

    Attributes:
        first, second: names of the engines.
        alpha: weight of the first, with its interval.
        n_lists: lists that it was chosen on.
    """

    first: str
    second: str
    alpha: Result
    n_lists: int


@dataclass(frozen=True)
class Verdict:
    """All that was found.

    Attributes:
        labels: label -> model -> its numbers; the pipeline first, empty without impressions.
        weighings: table -> label -> how the engines were weighed.
        n_impressions: test impressions.
        n_users: users among them.
        ablated: whether the ablations are among the models.
    """

    labels: Mapping[str, Mapping[str, Judgement]]
    weighings: Mapping[str, Mapping[str, Weighing]]
    n_impressions: int
    n_users: int
    ablated: bool

    def as_json(self) -> dict[str, Any]:
        """Plain data; NaN becomes None."""
        return plain(asdict(self))


def judge_training(trained: Trained, *, ablate: bool = False) -> Verdict:
    """Measure the rankers, or read what was measured already.

    Args:
        trained: a finished training.
        ablate: also fit and measure rankers without one group of features each.
    """
    stages = Stages(trained.config.folder, trained.log)
    about = stage_inputs(trained.config)["rankers"]
    for done in (True,) if ablate else (False, True):
        stored = stages.stored("judgement", {**about, "ablate": done})
        if stored is not None:
            return _read(json.loads(stored.path(NAME).read_text(encoding="utf-8")))
    found = _measured(trained, ablate=ablate)
    with stages.writing("judgement", {**about, "ablate": ablate}) as writer:
        text = json.dumps(found.as_json(), indent=1, allow_nan=False)
        writer.path(NAME).write_text(text, encoding="utf-8")
    return found


def calibrations(trained: Trained) -> dict[str, dict[str, Reliability]]:
    """Label -> model -> reliability on the test impressions; empty without impressions."""
    if "impressions" not in trained.rankers:
        return {}
    labels = test_rows(trained, "impressions").rows.labels
    return {
        label: {name: reliability(labels[label], p_N, bins="mass") for name, p_N in models.items()}
        for label, models in pipeline_probabilities(trained).items()
    }


def _measured(trained: Trained, *, ablate: bool) -> Verdict:
    weighings = {
        table: {label: _weighing(pair) for label, pair in ranker.pairs.items()}
        for table, ranker in trained.rankers.items()
    }
    if "impressions" not in trained.rankers:
        return Verdict({}, weighings, 0, 0, ablate)
    rows = test_rows(trained, "impressions")
    chances = pipeline_probabilities(trained)
    if ablate:
        for label, models in ablations(trained).items():
            chances[label] |= models
    labels = {
        label: judge(rows, label, models, seed=trained.config.seed)
        for label, models in track(chances.items(), label="judging")
    }
    users = len(set(rows.rows.user_N.tolist()))
    return Verdict(labels, weighings, len(rows.rows), users, ablate)


def _weighing(pair: Pair) -> Weighing:
    fusion = pair.report().fusion
    value, low, high = fusion.alpha
    names = [type(one).__name__.removesuffix("Engine") for one in (pair.first, pair.second)]
    n = fusion.lists
    return Weighing(names[0], names[1], Result(value, low, high, n, float(n), "alpha"), n)


def _read(data: Mapping[str, Any]) -> Verdict:
    labels = {
        label: {model: _judgement(found) for model, found in models.items()}
        for label, models in data["labels"].items()
    }
    weighings = {
        table: {
            label: Weighing(one["first"], one["second"], _result(one["alpha"]), one["n_lists"])
            for label, one in found.items()
        }
        for table, found in data["weighings"].items()
    }
    return Verdict(labels, weighings, data["n_impressions"], data["n_users"], data["ablated"])


def _judgement(data: Mapping[str, Any]) -> Judgement:
    gain: dict[str, Result | None] = {
        name: None if data[name] is None else _result(data[name])
        for name in ("auc_gain", "log_loss_gain", "ndcg_gain")
    }
    error = float("nan") if data["calibration"] is None else data["calibration"]
    auc, loss, ndcg = (_result(data[name]) for name in ("auc", "log_loss", "ndcg"))
    return Judgement(auc, loss, error, ndcg, **gain)


def _result(data: Mapping[str, Any]) -> Result:
    value, low, high, effective = (
        float("nan") if data[name] is None else float(data[name])
        for name in ("value", "low", "high", "effective_n")
    )
    return Result(value, low, high, int(data["n"]), effective, str(data["label"]))
