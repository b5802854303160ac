"""`muma demo`: the whole pipeline on the bundled short-video log."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import muma
from muma.app.config import read_recipe
from muma.app.evaluation import evaluate_recipe
from muma.app.judgement import judge_training
from muma.app.results import plain
from muma.app.run_report import write_report
from muma.app.serving_lists import PipelineRecommender
from muma.app.training import train_recipe
from muma.cli.evaluate import draw
from muma.cli.live import run_live
from muma.cli.show import show_ingest, show_report
from muma.cli.show_ranking import show_ranked, show_trained
from muma.cli.terminal import Json, Set, friendly, now_us, out, print_json, progress_bars
from muma.cli.train import draw as draw_training
from muma.errors import ConfigError

WARM, COLD = "3911", "a-new-viewer"
PLAYED_S = 15.0


@friendly
def demo(
    user: Annotated[str, typer.Option("--user", "-u", help="Whom to recommend to.")] = WARM,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve/--no-serve", help="Start the service and play held-out events to it."
        ),
    ] = True,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds", min=1, help="How long to play; on a terminal until Ctrl-C, else 15."
        ),
    ] = None,
    speed: Annotated[
        float, typer.Option("--speed", min=0.1, help="Seconds of the log in one of yours.")
    ] = 120.0,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="A free one unless given.")
    ] = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Run the main job on KuaiRand: ingest, clean, split, compare, train the rankers, recommend and say why.

    Then the service starts, and events that came after the training are played to it: open the page whose
    address is printed. With --json nothing is served.

    Example: muma demo --user 712
    Example: muma demo --no-serve

    Python: the same steps are in this command's 40 lines.
    """
    began = time.perf_counter()
    home = project_home()
    place = os.path.relpath(home / "data" / "kuairand-pure")
    data = f"events.source.path={place!r}"
    config = read_recipe(home / "recipes" / "demo.toml", overrides=[data, *(set_ or ())])
    with progress_bars(quiet=json):
        report = evaluate_recipe(config, now_us=now_us())
        picture = draw(config, report)
        trained = train_recipe(config, now_us=now_us())  # the comparison made its stages
        verdict = judge_training(trained)
        draw_training(trained, verdict)
        page = write_report(trained, verdict)
        recommender = PipelineRecommender(config)
        answers = [recommender.answer(who, 5) for who in (user, COLD)]
    spent = time.perf_counter() - began
    if json:
        print_json(
            plain(
                {
                    **report.as_json(),
                    "rankers": verdict.as_json(),
                    "answers": [asdict(answer) for answer in answers],
                    "picture": picture,
                    "page": str(page),
                    "seconds": spent,
                }
            )
        )
        return
    show_ingest(report.ingest, folder=str(config.folder / "log"))
    show_report(report)
    show_trained(trained, verdict)
    for answer in answers:
        show_ranked(answer)
    out.print(f"report page: {page}; picture: {picture}; {spent:.0f} s in all", soft_wrap=True)
    if serve:
        run_live(
            config, str(home / "recipes" / "demo.toml"), [data, *(set_ or ())], user=user, port=port,
            speed=speed, seconds=seconds if seconds or out.is_terminal else PLAYED_S,
        )  # fmt: skip


def project_home() -> Path:
    """The clone that holds `data/` and `recipes/`.

    Raises:
        ConfigError: the package is installed without them.
    """
    for home in (Path(muma.__file__).parents[2], Path.cwd()):
        if (home / "recipes" / "demo.toml").is_file() and (home / "data").is_dir():
            return home
    raise ConfigError(
        "the demo's data and recipe come with the repository: clone it and run 'make demo' there"
    )
