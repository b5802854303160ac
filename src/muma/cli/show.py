"""Reports as tables."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.table import Table

from muma.app.recommendation import Answer, label
from muma.app.results import Report
from muma.app.validation import Validation
from muma.cli.terminal import escaped, out
from muma.evaluation.result import Result
from muma.evaluation.significance import Comparison


def show_ingest(report: Mapping[str, Any], *, folder: str, reused: bool = False) -> None:
    """The counts of an ingestion."""
    table = titled("what became of every row", "table")
    for name in ("read", "kept", "quarantined"):
        table.add_column(name, justify="right")
    for name, counts in {"events": report["events"], **report["tables"]}.items():
        table.add_row(name, *(f"{counts[c]:,}" for c in ("read", "kept", "quarantined")))
    out.print(table)
    for rule, count in report["refused"].items():
        if count:
            out.print(
                f"  {count:>9,} refused by {rule}: {escaped(report['examples'][rule])}",
                soft_wrap=True,
            )
    for rule, count in report["marked"].items():
        out.print(f"  {count:>9,} marked or mended by cleaning.{rule}")
    span = f"{moment(report['first_us'])} to {moment(report['last_us'])}"
    known = f"{report['users']:,} users, {report['items']:,} items"
    verb = "unchanged, read from" if reused else "written to"
    out.print(f"{known}, {span}; {verb} {folder}", soft_wrap=True)


def show_report(report: Report) -> None:
    """The comparison, with intervals."""
    for name, (count, first, last) in report.parts.items():
        out.print(f"{name:>10}: {count:>9,} events, {moment(first)} to {moment(last)}")
    out.print(_accuracy(report))
    out.print(
        f"* the {report.level:.0%} interval of the paired difference excludes 0 and Holm's p < 0.05",
    )
    out.print(_all_metrics(report))
    if len([view for view, users in report.users.items() if users]) > 1:
        out.print(_by_view(report))
    if report.users.get("cold_item"):
        out.print("cold items: these models propose only items that they saw in fitting, hence 0")
    if report.masked:
        out.print(f"{report.masked:,} test pairs were left out: the user had taken the item before")
    out.print(f"served by 'recommend' (best on validation unless the recipe says): {report.served}")


def show_answer(answer: Answer) -> None:
    """A user's recommendations."""
    what = "cold user" if answer.n_history == 0 else "warm user"
    known = "" if answer.known else ", never seen in the log"
    title = f"{what} {answer.user} ({answer.n_history} interactions{known})"
    table = titled(title, "#")
    sources = list(answer.items[0].scores) if answer.items else [answer.model]
    for name in ("item", "title or tags", *sources):
        table.add_column(name, justify="right" if name in sources else "left")
    for place, item in enumerate(answer.items, 1):
        scores = ("-" if s is None else f"{s:.3g}" for s in item.scores.values())
        table.add_row(str(place), str(item.item), escaped(label(item)), *scores)
    out.print(table)
    if answer.history:
        out.print(f"took last: {escaped(' | '.join(answer.history))}", soft_wrap=True)


def moment(time_us: int | None) -> str:
    """A time in UTC, or a dash."""
    if time_us is None:
        return "-"
    return datetime.fromtimestamp(time_us / 1e6, tz=UTC).strftime("%Y-%m-%d %H:%M")


def _accuracy(report: Report) -> Table:
    table = titled(f"{report.primary} on the test window, full catalogue", "model")
    table.add_column(f"{report.primary}  {report.level:.0%} interval", justify="right")
    for other in dict.fromkeys((report.baseline, report.served)):
        table.add_column(f"vs {other}", justify="right")
        table.add_column("p (Holm)", justify="right")
    table.add_column("seconds", justify="right")
    for model, found in report.models.items():
        cells = _difference(found.comparison)
        if report.served != report.baseline:
            cells += _difference(found.against_served)
        result = found.views["all"][report.primary]
        table.add_row(model, interval(result), *cells, f"{sum(found.seconds.values()):.1f}")
    return table


def _difference(against: Comparison | None) -> list[str]:
    if against is None:
        return ["- ", "-"]
    star = "*" if against.separable and against.p_holm < 0.05 else " "
    return [f"{against.difference.value:+.4f}{star}", f"{against.p_holm:.2g}"]


def _all_metrics(report: Report) -> Table:
    table = titled("all metrics", "model")
    names = [n for n in next(iter(report.models.values())).views["all"] if n != report.primary]
    for name in names:
        table.add_column(name, justify="right")
    for model, found in report.models.items():
        table.add_row(model, *(f"{found.views['all'][n].value:.3g}" for n in names))
    return table


def _by_view(report: Report) -> Table:
    table = titled(f"{report.primary} by view", "model")
    views = [view for view, users in report.users.items() if users]
    for view in views:
        table.add_column(f"{view.replace('_', ' ')} ({report.users[view]:,})", justify="right")
    for model, found in report.models.items():
        table.add_row(model, *(interval(found.views[v][report.primary]) for v in views))
    return table


def titled(title: str, first: str) -> Table:
    """A table under a title, with its first column."""
    out.print(f"\n[bold]{escaped(title)}[/]", soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(first)
    return table


def interval(result: Result) -> str:
    """Value and interval."""
    if not result.low <= result.high:
        return f"{result.value:.4f}"
    return f"{result.value:.4f} \\[{result.low:.4f}, {result.high:.4f}]"


def show_validation(found: Validation) -> None:
    """What validation found."""
    out.print(f"{found.read:,} rows read, {found.kept:,} pass, {found.quarantined:,} do not")
    for rule, count in found.rules.items():
        out.print(f"  {count:>9,}  {rule}")
    if not found.examples:
        return
    names = ("file", "row", "column", "value", "reason")
    table = Table(*names, title="examples", title_justify="left")
    for row in found.examples:
        table.add_row(*(escaped(str(row[n]))[:60] for n in names))
    out.print(table)
