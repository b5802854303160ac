"""Ranked lists, their reasons and how good the rankers are, for people."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.table import Table

from muma.app.judgement import Verdict
from muma.app.ranking_evaluation import Judgement
from muma.app.run_report import STAR, interval, label_rows, starred
from muma.app.serving_lists import PipelineAnswer
from muma.app.training import Trained
from muma.cli.show import moment, titled
from muma.cli.terminal import escaped, out


def show_ranked(answer: PipelineAnswer) -> None:
    """A user's list with a reason for every place."""
    what = "cold user" if answer.n_history == 0 else "warm user"
    known = "" if answer.known else ", never seen in the log"
    table = titled(
        f"{what} {answer.user} ({answer.n_history} interactions{known}), as of "
        f"{moment(answer.at_us)} UTC",
        "#",
    )
    labels = [*answer.items[0].probability] if answer.items else []
    table.add_column("item", no_wrap=True)
    table.add_column("title or tags")
    for name in ("score", *(f"P({label})" for label in labels)):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why")
    for place, item in enumerate(answer.items, 1):
        called = item.title or ", ".join(item.tags) or "-"
        chances = (f"{item.probability[label]:.0%}" for label in labels)
        table.add_row(
            str(place), str(item.item), escaped(called), f"{item.score:.2f}", *chances,
            escaped(reason(item.sentence)),
        )  # fmt: skip
    out.print(table)
    out.print(f"{answer.n_candidates} candidates of all sources were ranked")
    if answer.history:
        out.print(f"took last: {escaped(' | '.join(answer.history))}", soft_wrap=True)


def reason(sentence: str | None) -> str:
    """A sentence without its beginning, "Shown first", which its row says already."""
    if sentence is None:
        return "-"
    _, _, told = sentence.partition(": ")
    return told[:1].upper() + told[1:] if told else "-"


def show_trained(trained: Trained, verdict: Verdict) -> None:
    """How a training went and how good its rankers are."""
    stages = ("rows", "sources", "features", "rankers")
    made = [name for name in stages if name not in trained.reused]
    there = [name for name in stages if name in trained.reused]
    out.print(
        f"stages made now: {', '.join(made) or 'none'}; there already: {', '.join(there) or 'none'}"
    )
    for table, matrix in trained.matrices.items():
        roles: dict[str, int] = {}
        for number, fold in enumerate(trained.folds):
            rows = int((matrix.rows.fold_N == number).sum())
            roles[fold.role] = roles.get(fold.role, 0) + rows
        counts = ", ".join(f"{role} {rows:,}" for role, rows in roles.items())
        out.print(f"{table}: {len(matrix.columns)} features; rows: {counts}", soft_wrap=True)
    for label, models in verdict.labels.items():
        out.print(
            f"\n[bold]{escaped(label)}: {verdict.n_impressions:,} test impressions of "
            f"{verdict.n_users:,} users[/]"
        )
        _show_label(models)
    if verdict.labels:
        out.print(STAR)
    table = titled("weight of the first engine", "ranker")
    for name in ("engines", "alpha"):
        table.add_column(name)
    for name, found in verdict.weighings.items():
        for label, one in found.items():
            told = escaped(interval(one.alpha, digits=2))
            table.add_row(f"{name}: {label}", f"{one.first}, {one.second}", told)
    out.print(table)


def _show_label(models: Mapping[str, Judgement]) -> None:
    """Each model's numbers, then the pipeline's differences from the others."""
    table, gains = Table(box=box.SIMPLE_HEAD), Table(box=box.SIMPLE_HEAD)
    table.add_column("model", no_wrap=True)
    for name in ("AUC", "log loss", "calibration error", "NDCG@10"):
        table.add_column(name, justify="right")
    for cells in label_rows(models):
        name, auc, _, loss, _, error, ndcg, _ = cells
        table.add_row(name, *(escaped(text) for text in (auc, loss, error, ndcg)))
    gains.add_column("pipeline minus", no_wrap=True)
    for name in ("AUC", "log loss", "NDCG@10"):
        gains.add_column(name, justify="right")
    for name, one in models.items():
        if one.auc_gain is not None:
            told = (one.auc_gain, one.log_loss_gain, one.ndcg_gain)
            gains.add_row(name, *(escaped(starred(gain)) for gain in told))
    out.print(table)
    out.print(gains)
