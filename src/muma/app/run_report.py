"""What a run's page says: recipe, data, split, comparison, rankers, alpha, pictures, links."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from muma import artifact
from muma.app.evaluation import KIND, VERSION
from muma.app.explanations import PAGE, Overview
from muma.app.judgement import Verdict
from muma.app.ranking_evaluation import PIPELINE, Judgement
from muma.app.training import Trained, sources_of
from muma.errors import ArtifactError
from muma.evaluation.result import Result
from muma.report.run_page import PageTable, Picture, Section, write_run_page

REPORT = "report.html"
STAR = "A star: the 95% interval of the pipeline's paired difference over users excludes 0."
CAPTIONS = {
    "comparison": "the models of the recipe on the test window, by kind of user and item",
    "calibration": "observed rates over predicted probabilities on the test impressions",
    "importance": "mean size of each feature's part of the score, with 95% intervals over lists",
    "beeswarm": "each answer's parts: how far a feature pushed it, by the feature's value",
    "dependence": "the strongest feature: its part of the score over its value",
    "drift": "what has moved between the reference and the current window",
}


def write_report(trained: Trained, verdict: Verdict, overview: Overview | None = None) -> Path:
    """Write `RUN/report.html` from a finished training and whatever else the run folder holds.

    Args:
        trained: a finished training.
        verdict: how good its rankers are.
        overview: the features to doubt, if they were looked for.
    """
    folder = trained.config.folder
    sections = [
        _what(trained),
        _split(trained),
        _comparison(trained),
        *_labels(verdict),
        _alpha(verdict),
        _pictures(folder),
        _doubts(overview),
        Section("More", links=_links(folder)),
    ]
    path = folder / REPORT
    write_run_page(f"MUMA run: {trained.config.name}", sections, path)
    return path


def interval(result: Result | None, *, digits: int = 4, sign: bool = False) -> str:
    """`0.7175 [0.7104, 0.7241]`."""
    if result is None:
        return ""
    form = f"{'+' if sign else ''}.{digits}f"
    if not result.low <= result.high:
        return f"{result.value:{form}}"
    return f"{result.value:{form}} [{result.low:{form}}, {result.high:{form}}]"


def starred(gain: Result | None) -> str:
    """A difference with its interval, and a star when that excludes 0."""
    if gain is None:
        return ""
    return f"{interval(gain, sign=True)}{'*' if gain.excludes(0.0) else ' '}"


def label_rows(models: Mapping[str, Judgement]) -> list[list[str]]:
    """The cells of a label's table, the pipeline first."""
    names = [PIPELINE, *(name for name in models if name != PIPELINE)]
    return [
        [
            name, interval(one.auc), starred(one.auc_gain), interval(one.log_loss),
            starred(one.log_loss_gain), f"{one.calibration:.4f}", interval(one.ndcg),
            starred(one.ndcg_gain),
        ]
        for name, one in ((name, models[name]) for name in names)
    ]  # fmt: skip


LABEL_HEAD = (
    "model", "AUC", "pipeline - it", "log loss", "pipeline - it (log loss)", "calibration error",
    "NDCG@10", "pipeline - it (NDCG)",
)  # fmt: skip


def _what(trained: Trained) -> Section:
    config, log = trained.config, trained.log
    events = log.events.select(pl.len()).collect().item()
    kinds = log.events.group_by("kind").len().sort("len", descending=True).collect()
    shown = ", ".join(f"{count:,} {kind}" for kind, count in kinds.iter_rows())
    rows = [
        ["source", config.events.source.use.rpartition(".")[2]],
        ["events", f"{events:,} ({shown})"],
        ["users, items", f"{log.n_users:,}, {log.n_items:,}"],
        ["features of the rankers", f"{len(next(iter(trained.matrices.values())).columns)}"],
        ["candidate sources", ", ".join(sources_of(config))],
        ["seed", str(config.seed)],
    ]
    return Section("What ran", tables=[PageTable(("what", "value"), rows, text=("value",))])


def _split(trained: Trained) -> Section:
    folds, names = [], ("from (UTC)", "to (UTC)", "impressions", "rows of lists")
    for number, fold in enumerate(trained.folds):
        counts = [
            f"{int((trained.matrices[table].rows.fold_N == number).sum()):,}"
            if table in trained.matrices else "-"
            for table in ("impressions", "lists")
        ]  # fmt: skip
        folds.append([f"{number + 1} {fold.role}", _day(fold.start), _day(fold.end), *counts])
    return Section(
        "Pieces of time",
        notes=[
            "The rows of a piece are scored by sources that were fitted on earlier events only."
        ],
        tables=[PageTable(("piece", *names), folds)],
    )


def _comparison(trained: Trained) -> Section:
    """The comparison of `muma evaluate`, if it was run with this recipe."""
    config = trained.config
    try:
        run = artifact.read(config.folder / "results", kind=KIND, version=VERSION)
    except ArtifactError:
        return Section("Comparison")
    if run.config != config.model_dump(mode="json"):
        return Section("Comparison")
    report = run.meta["report"]
    rows = []
    for name, model in report["models"].items():
        result, against = model["views"]["all"][report["primary"]], model["comparison"]
        told = ""
        if against is not None:
            gain = _read(against["difference"])
            told = f"{interval(gain, sign=True)}{'*' if gain.excludes(0.0) else ' '}"
        rows.append([name, interval(_read(result)), told])
    return Section(
        f"Comparison: {report['primary']} on the test window, full catalogue",
        notes=[f"A star: the interval of the paired difference from {report['baseline']} excludes 0."],
        tables=[PageTable(("model", report["primary"], f"difference from {report['baseline']}"), rows)],
    )  # fmt: skip


def _read(data: Mapping[str, Any]) -> Result:
    numbers = [float("nan") if data[n] is None else data[n] for n in ("value", "low", "high")]
    return Result(numbers[0], numbers[1], numbers[2], data["n"], data["effective_n"] or 0.0)


def _labels(verdict: Verdict) -> list[Section]:
    note = f"{verdict.n_impressions:,} test impressions of {verdict.n_users:,} users. {STAR}"
    return [
        Section(f"Label {label}", notes=[note], tables=[PageTable(LABEL_HEAD, label_rows(models))])
        for label, models in verdict.labels.items()
    ]


def _alpha(verdict: Verdict) -> Section:
    rows = [
        [f"{table}: {label}", one.first, one.second, interval(one.alpha, digits=2), f"{one.n_lists:,}"]
        for table, found in verdict.weighings.items()
        for label, one in found.items()
    ]  # fmt: skip
    return Section(
        "Weight of the first engine",
        notes=["Chosen on the later half of validation; intervals by resampling whole lists."],
        tables=[PageTable(("ranker", "first", "second", "alpha", "lists"), rows)],
    )


def _pictures(folder: Path) -> Section:
    found = [
        Picture(folder / f"{name}.png", caption)
        for name, caption in CAPTIONS.items()
        if (folder / f"{name}.png").is_file()
    ]
    return Section("Pictures", pictures=found)


def _doubts(overview: Overview | None) -> Section:
    if overview is None:
        return Section("Features to doubt")
    never = [one.name for one in overview.doubts if one.kind != "flips"]
    notes = []
    if never:
        folds = ", ".join(overview.folds)
        told = f"{len(never)} of {len(overview.importance)} features"
        notes = [f"{told} have next to no part of any score in {folds}: {', '.join(never)}."]
    rows = [[one.name, one.reason] for one in overview.doubts if one.kind == "flips"]
    table = PageTable(("feature whose effect flips", "what was found"), rows, ("what was found",))
    return Section(
        f"Features to doubt, ranker of {overview.table}",
        notes=notes if overview.doubts else ["None: all have a part, and none changes its sign."],
        tables=[table] if rows else [],
    )


def _links(folder: Path) -> list[tuple[str, str]]:
    known = {PAGE: "why these answers: importance, dependence, answers place by place"}
    known["drift.json"] = "drift: every statistic with its threshold"
    return [(text, name) for name, text in known.items() if (folder / name).is_file()]


def _day(time_us: int | None) -> str:
    if time_us is None:
        return "the end"
    return datetime.fromtimestamp(time_us / 1e6, tz=UTC).strftime("%Y-%m-%d %H:%M")
