"""`muma train`: rankers from a recipe, how good they are, and why they say what they say."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Annotated

import typer

from muma.app.config import read_recipe
from muma.app.explanations import Overview, draw_sample, overview, unseen
from muma.app.judgement import Verdict, calibrations, judge_training
from muma.app.ranking_evaluation import PIPELINE
from muma.app.run_report import write_report
from muma.app.serving_bundle import keep_training, versions_of
from muma.app.training import Trained, train_recipe
from muma.app.versions import Version
from muma.cli.show_ranking import show_trained
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
)
from muma.errors import ConfigError, MissingExtraError
from muma.report.calibration import draw_calibration


@friendly
def train(
    recipe: Recipe,
    ablate: Annotated[
        bool,
        typer.Option(
            "--ablate", help="Also fit and judge rankers without a group of features each."
        ),
    ] = False,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Make rows, features and rankers, judge them on the test window, draw what they look at.

    Each stage is kept below RUN/ranking and is not run again while the recipe and the log are the
    same, whatever stopped the run before.

    Example: muma train recipes/demo.toml --ablate

    Python: muma.app.training.train_recipe(config), muma.app.judgement.judge_training(trained)
    """
    config = read_recipe(recipe, overrides=set_ or ())
    with progress_bars(quiet=json):
        trained = train_recipe(config, now_us=now_us())
        verdict = judge_training(trained, ablate=ablate)
        kept = keep_measured(trained, verdict)
        pictures, found = draw(trained, verdict)
        page = write_report(trained, verdict, found)
    if json:
        print_json(
            {
                **verdict.as_json(),
                "folder": str(config.folder),
                "version": kept.name,
                "reused": list(trained.reused),
                "pictures": [str(path) for path in pictures],
                "report": str(page),
            }
        )
        return
    show_trained(trained, verdict)
    out.print(f"pictures and page: {page}", soft_wrap=True)
    out.print(f"kept as version {kept.name}; 'muma models' lists them all", soft_wrap=True)


def keep_measured(trained: Trained, verdict: Verdict) -> Version:
    """Keep the training as a version, with what was measured of the pipeline."""
    metrics = {}
    for label, models in verdict.labels.items():
        if (found := models.get(PIPELINE)) is not None:
            measured = {"auc": found.auc, "log_loss": found.log_loss, "ndcg@10": found.ndcg}
            metrics |= {f"{label} {name}": one.value for name, one in measured.items()}
    version = keep_training(trained.config, trained.log)
    finite = {name: value for name, value in metrics.items() if isfinite(value)}
    return versions_of(trained.config).measured(version.name, finite)


def draw(trained: Trained, verdict: Verdict) -> tuple[list[Path], Overview | None]:
    """Draw what the rankers look at into the run folder; no pictures without matplotlib."""
    folder, name = trained.config.folder, trained.config.name
    calibration, pictures, test, found = folder / "calibration.png", [], None, None
    try:
        test = unseen(trained, "lists")
        found = overview(trained, "lists", test)
    except ConfigError as literal:  # a fusion that has no attributions
        err.print(f"no attributions: {escaped(str(literal))}", soft_wrap=True)
    try:
        if test is not None:
            pictures += draw_sample(test, folder, title=name)
        if verdict.labels:
            title = f"{name}: calibration on the test impressions"
            draw_calibration(calibrations(trained), calibration, title=title)
            pictures.append(calibration)
    except MissingExtraError as missing:
        err.print(f"no pictures: {escaped(str(missing))}", soft_wrap=True)
    return pictures, found
