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
from muma.cli.show import show_ingest, show_report
from muma.cli.show_ranking import show_ranked, show_trained
from muma.cli.terminal import Json, Set, friendly, now_us, out, print_json, progress_bars
from muma.cli.train import draw as draw_training
from muma.errors import ConfigError

WARM, COLD = "3911", "a-new-viewer"


@friendly
def demo(
    user: Annotated[str, typer.Option("--user", "-u", help="Whom to recommend to.")] = WARM,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Run the main job on KuaiRand: ingest, clean, split, compare, train the rankers, recommend and say why.

    Example: muma demo --user 712

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
    seconds = time.perf_counter() - began
    if json:
        print_json(
            plain(
                {
                    **report.as_json(),
                    "rankers": verdict.as_json(),
                    "answers": [asdict(answer) for answer in answers],
                    "picture": picture,
                    "page": str(page),
                    "seconds": seconds,
                }
            )
        )
        return
    show_ingest(report.ingest, folder=str(config.folder / "log"))
    show_report(report)
    show_trained(trained, verdict)
    for answer in answers:
        show_ranked(answer)
    out.print(f"report page: {page}; picture: {picture}; {seconds:.0f} s in all", soft_wrap=True)


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
