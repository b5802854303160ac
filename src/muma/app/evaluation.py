"""The pipeline of a comparison: ingest, split, tune, refit, test, compare, keep.

Models are fitted on the training part, tuned on validation, fitted again on both (unless `refit` is
off) and measured once on the test part. Everything lands in the run folder: the log, the fitted
models, the numbers and their manifest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from muma import artifact
from muma.app.config import AppConfig
from muma.app.ingestion import Ingested, prepare
from muma.app.metrics import metrics_of
from muma.app.models import Chosen, Tuner, adopt
from muma.app.ranking_evaluation import PIPELINE, full_lists
from muma.app.results import ModelReport, Report
from muma.app.training import train_recipe
from muma.app.truth import Task, context_of, task_of
from muma.candidates.blend import Blend
from muma.candidates.candidate import CandidateModel
from muma.candidates.storage import writer_within
from muma.config import build
from muma.errors import ConfigError
from muma.evaluation.full_ranking import Evaluation, evaluate_lists
from muma.evaluation.metric import Context, Metric, UserMetric
from muma.evaluation.result import Result
from muma.evaluation.significance import compare
from muma.events.event import EventLog, empty
from muma.events.normalise import Normalisers
from muma.events.split import Split, Splitter, View, spans
from muma.events.vocabulary import Vocabulary
from muma.progress import track
from muma.rng import derive

KIND, VERSION = "run", 1
LIBRARIES = ("muma", "numpy", "scipy", "polars", "pyarrow", "implicit")


@dataclass
class _Stage:
    config: AppConfig
    ingested: Ingested
    split: Split
    metrics: list[Metric]
    primary: UserMetric
    seconds: dict[str, dict[str, float]] = field(default_factory=dict)

    def timed(self, name: str, what: str, call: Callable[[], Any]) -> Any:
        """Run `call` and keep how long it took."""
        began = time.perf_counter()
        result = call()
        self.seconds.setdefault(name, {})[what] = time.perf_counter() - began
        return result


def evaluate_recipe(config: AppConfig, *, now_us: int | None = None) -> Report:
    """Run the whole comparison that a recipe describes.

    Args:
        config: the recipe.
        now_us: the clock for ingestion, UTC microseconds.

    Raises:
        MumaError: the recipe or the data are wrong.
    """
    metrics, primary = metrics_of(config)
    baseline = baseline_of(config)
    splitter: Splitter = build(config.events.split, where="events.split", methods=("split",))
    check_models(config)
    normalisers = Normalisers(config.events.normalise)
    ingested = prepare(config.events, config.folder / "log", now_us=now_us)
    split = splitter.split(ingested.log)
    normalisers.fit(split.train)
    stage = _Stage(config, ingested, split, metrics, primary)
    tuner = Tuner(config, split.train, _tuning_task(stage), primary)
    for name in track(config.candidates.models, label="tuning on validation"):
        stage.timed(name, "tune", lambda name=name: tuner.choose(name))
    served = config.candidates.serve or max(tuner.chosen, key=lambda n: tuner.chosen[n].value)
    fitted = _refit(stage, tuner)
    task = _task(stage)
    signal = config.candidates.signal
    context = context_of(_history(stage), split.test, task.user_B, taken=signal)
    done = _test(stage, fitted, task, context)
    if config.ranking is not None:
        done[PIPELINE] = stage.timed(
            PIPELINE, "test", lambda: _pipeline(stage, tuner, fitted, task, context, now_us=now_us)
        )
    report = _report(stage, tuner.chosen, done, task, context, baseline=baseline, served=served)
    _keep(stage, fitted, normalisers, report)
    return report


def check_models(config: AppConfig) -> None:
    """Build every model once, so that a mistake costs no fitting."""
    nothing = csr_array((0, 0))
    task = Task(np.empty(0, dtype=np.int64), nothing, None, 0)
    log = EventLog(empty("events"), Vocabulary(), Vocabulary())
    Tuner(config, log, task, metrics_of(config)[1]).check()


def baseline_of(config: AppConfig) -> str:
    """Name of the model the others are compared with."""
    name = config.evaluation.baseline or next(iter(config.candidates.models))
    names = [*config.candidates.models, *([] if config.ranking is None else [PIPELINE])]
    if name not in names:
        known = ", ".join(names)
        raise ConfigError(f"evaluation.baseline = {name!r} is not among the models: {known}")
    return name


def _tuning_task(stage: _Stage) -> Task:
    settings = stage.config.evaluation
    task = task_of(
        stage.split.train,
        stage.split.validation,
        target=settings.target,
        taken=stage.config.candidates.signal,
        mask_seen=settings.mask_seen,
    )
    if len(task.user_B) <= settings.tuning_users:
        return task
    rng = derive(stage.config.seed, "tuning-users")
    drawn = rng.choice(len(task.user_B), settings.tuning_users, replace=False)
    return task.rows(np.sort(drawn))


def _history(stage: _Stage) -> EventLog:
    return stage.split.before_test if stage.config.evaluation.refit else stage.split.train


def _task(stage: _Stage) -> Task:
    settings = stage.config.evaluation
    return task_of(
        _history(stage),
        stage.split.test,
        target=settings.target,
        taken=stage.config.candidates.signal,
        mask_seen=settings.mask_seen,
    )


def _refit(stage: _Stage, tuner: Tuner) -> dict[str, CandidateModel]:
    """Fit every chosen model on all events before the test part."""
    if not stage.config.evaluation.refit:
        return tuner.fitted
    if stage.config.ranking is None:
        tuner.fitted.clear()
    log, fitted = _history(stage), {}
    for name, chosen in track(list(tuner.chosen.items()), label="fitting for the test"):
        model = tuner.new(name, chosen.spec)
        if isinstance(model, Blend):
            fitted[name] = adopt(model, fitted, log)
        else:
            fitted[name] = stage.timed(name, "fit", lambda model=model: model.fit(log))
    return fitted


def _test(
    stage: _Stage, fitted: Mapping[str, CandidateModel], task: Task, context: Context
) -> dict[str, Evaluation]:
    stage.metrics[:] = [m for m in stage.metrics if _possible(m, context)]
    deepest = max(metric.k for metric in stage.metrics)

    def measure(model: CandidateModel) -> Evaluation:
        found = model.propose(task.user_B, deepest, exclude=task.exclude)
        return evaluate_lists(found.item_BN, task.truth, metrics=stage.metrics, context=context)

    return {
        name: stage.timed(name, "test", lambda model=model: measure(model))
        for name, model in track(list(fitted.items()), label="testing")
    }


def _pipeline(
    stage: _Stage,
    tuner: Tuner,
    fitted: Mapping[str, CandidateModel],
    task: Task,
    context: Context,
    *,
    now_us: int | None,
) -> Evaluation:
    """The whole pipeline, candidates and rankers, on the same users; no source is fitted twice."""
    split = stage.split
    there = {}
    if split.validation_start is not None and split.test_start is not None:
        there[split.validation_start] = tuner.fitted
        there |= {split.test_start: fitted} if stage.config.evaluation.refit else {}
    trained = train_recipe(stage.config, now_us=now_us, tuner=tuner, fitted=there)
    deepest = max(metric.k for metric in stage.metrics)
    item_BK = full_lists(trained, task.user_B, deepest)
    return evaluate_lists(item_BK, task.truth, metrics=stage.metrics, context=context)


def _possible(metric: Metric, context: Context) -> bool:
    """Whether the log has what the metric reads."""
    return all(getattr(context, name) is not None for name in metric.needs)


def _report(
    stage: _Stage,
    chosen: Mapping[str, Chosen],
    done: Mapping[str, Evaluation],
    task: Task,
    context: Context,
    *,
    baseline: str,
    served: str,
) -> Report:
    settings, seed = stage.config.evaluation, stage.config.seed
    users: dict[str, int] = {}
    views: dict[str, dict[str, dict[str, Result]]] = {name: {} for name in done}
    for view in settings.views:
        keep, truth = _view_rows(stage, task, view)
        users[view] = len(keep)
        for name, evaluation in done.items() if len(keep) else ():
            part = evaluation
            if view != "all":
                cold = view == "cold_item"  # there the truth is a part of what was watched
                part = evaluate_lists(
                    evaluation.item_BK[keep],
                    truth,
                    metrics=[m for m in stage.metrics if not (cold and m.needs)],
                    context=_context_rows(context, keep),
                )
            views[name][view] = part.results(
                seed=seed, n_resamples=settings.resamples, level=settings.level
            )
    primary = {name: e.per_user[stage.primary.name] for name, e in done.items()}
    against = {
        other: compare(
            primary, other, seed=seed, n_resamples=settings.resamples, level=settings.level
        )
        for other in dict.fromkeys((baseline, served))
    }
    models = {
        name: ModelReport(
            parameters=_tuned(stage, name, chosen[name]) if name in chosen else {},
            validation=chosen[name].value if name in chosen else float("nan"),
            tried=chosen[name].tried if name in chosen else (),
            views=views[name],
            comparison=against[baseline].get(name),
            against_served=against[served].get(name),
            seconds=stage.seconds.get(name, {}),
        )
        for name in done
    }
    parts = ("train", "validation", "test")
    return Report(
        name=stage.config.name,
        ingest=stage.ingested.report,
        parts=dict(zip(parts, spans([getattr(stage.split, p) for p in parts]), strict=True)),
        users=users,
        masked=task.masked,
        level=settings.level,
        primary=stage.primary.name,
        baseline=baseline,
        served=served,
        models=models,
    )


def _tuned(stage: _Stage, name: str, chosen: Chosen) -> dict[str, Any]:
    """The parameters that tuning chose, and no others."""
    spec = stage.config.candidates.models[name]
    if spec.members:
        return dict(chosen.spec.params.get("weights", {}))
    return {key: chosen.spec.params[key] for key in spec.tune}


def _view_rows(stage: _Stage, task: Task, view: View) -> tuple[np.ndarray, csr_array]:
    """Rows of `task` that belong to a view, and their truth within it."""
    if view == "all":
        return np.arange(len(task.user_B)), task.truth
    part = stage.split.view(view, history=_history(stage))
    keep_B = np.zeros(part.n_users, dtype=bool)
    users = part.events.select("user_id").unique().collect().to_series().to_numpy()
    keep_B[users] = True
    keep = np.flatnonzero(keep_B[task.user_B])
    truth = task.truth[keep]
    if view == "cold_item":
        cold_I = np.zeros(part.n_items)
        items = part.events.select("item_id").unique().collect().to_series().to_numpy()
        cold_I[items] = 1
        truth = csr_array(truth.multiply(cold_I[None, :]))
        truth.eliminate_zeros()
        some = np.flatnonzero(np.diff(truth.indptr))
        keep, truth = keep[some], truth[some]
    return keep, truth


def _context_rows(context: Context, keep: np.ndarray) -> Context:
    gain = context.watch_gain
    return replace(context, watch_gain=None if gain is None else gain[keep])


def _keep(
    stage: _Stage,
    fitted: Mapping[str, CandidateModel],
    normalisers: Normalisers,
    report: Report,
) -> None:
    """Write numbers, models and normalisers as one artifact: all of a run, or none of it."""
    config = stage.config
    plain = report.as_json()
    for model in plain["models"].values():
        model.pop("seconds")
    kept = fitted if config.candidates.keep == "all" else {report.served: fitted[report.served]}
    meta = {
        "fingerprint": stage.ingested.log.fingerprint,
        "seed": config.seed,
        "libraries": artifact.library_versions(*LIBRARIES),
        "seconds": stage.seconds,
        "report": plain,
        "models": {
            name: f"{type(model).__module__}.{type(model).__qualname__}"
            for name, model in kept.items()
        },
    }
    with artifact.write(
        config.folder / "results",
        kind=KIND,
        version=VERSION,
        config=config.model_dump(mode="json"),
        meta=meta,
    ) as writer:
        if config.events.normalise:
            normalisers.save(writer)
        for name, model in kept.items():
            model.save(writer_within(writer, f"models/{name}"))
