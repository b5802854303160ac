"""`muma evaluate`: the comparison that a recipe describes."""

from __future__ import annotations

from muma.app.config import AppConfig, read_recipe
from muma.app.evaluation import evaluate_recipe
from muma.app.results import Report
from muma.cli.show import show_ingest, show_report
from muma.cli.terminal import (
    Json,
    Recipe,
    Set,
    err,
    escaped,
    friendly,
    now_us,
    out,
    print_json,
    progress_bars,
)  # fmt: skip
from muma.errors import MissingExtraError
from muma.report.comparison import draw_comparison
from muma.report.curves import draw_curves, read_curves


@friendly
def evaluate(recipe: Recipe, set_: Set = None, json: Json = False) -> None:
    """Ingest, split by time, tune on validation, test, compare with intervals, keep the models.

    Example: muma evaluate recipes/kuairand.toml --set evaluation.tuning_users=500

    Python: muma.app.evaluation.evaluate_recipe(config)
    """
    config = read_recipe(recipe, overrides=set_ or ())
    with progress_bars(quiet=json):
        report = evaluate_recipe(config, now_us=now_us())
    picture = draw(config, report)
    if json:
        print_json({**report.as_json(), "folder": str(config.folder), "picture": picture})
        return
    show_ingest(report.ingest, folder=str(config.folder / "log"))
    show_report(report)
    out.print(f"numbers, models and picture: {config.folder}", soft_wrap=True)


def draw(config: AppConfig, report: Report) -> str | None:
    """Draw the comparison and any learning curves into the run folder; None without matplotlib."""
    path = config.folder / "comparison.png"
    results = {
        name: {view: found[report.primary] for view, found in model.views.items()}
        for name, model in report.models.items()
    }
    try:
        draw_comparison(
            results,
            path,
            metric=report.primary,
            users={view: n for view, n in report.users.items() if n > 1},
            best=report.served,
            level=report.level,
            title=f"{report.name}: full-catalogue ranking of the test window",
        )
        if curves := read_curves(config.folder / "training"):
            draw_curves(curves, config.folder / "curves.png", title=f"{report.name}: trainings")
    except MissingExtraError as missing:
        err.print(f"no picture: {escaped(str(missing))}", soft_wrap=True)
        return None
    return str(path)
