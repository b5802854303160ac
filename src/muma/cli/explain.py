"""`muma explain`: what the rankers look at, and why one user's list is as it is."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from muma.app.config import AppConfig, read_recipe
from muma.app.explanations import (
    draw_sample,
    explain_user,
    overview,
    some_users,
    unseen,
    write_page,
)
from muma.app.judgement import judge_training
from muma.app.results import plain
from muma.app.run_report import write_report
from muma.app.serving_lists import PipelineRecommender
from muma.app.training import train_recipe
from muma.cli.recommend import ready
from muma.cli.show_explanation import show_overview, show_user
from muma.cli.terminal import (
    Json,
    Recipe,
    Set,
    err,
    escaped,
    friendly,
    moment_us,
    now_us,
    out,
    print_json,
    progress_bars,
)
from muma.errors import ConfigError, MissingExtraError


@friendly
def explain(
    recipe: Recipe,
    user: Annotated[
        str | None, typer.Option("--user", "-u", help="Explain this user's list instead.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1_000, help="Length of the list.")] = 10,
    above: Annotated[
        tuple[int, int] | None,
        typer.Option("--above", metavar="A B", help="Why place A stands above place B (from 1)."),
    ] = None,
    without: Annotated[
        str | None,
        typer.Option("--without", metavar="GROUP", help="Where each would stand without a group."),
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="Moment in UTC, ISO 8601; default: the log's end.")
    ] = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Show what the ranker of lists looks at, which features to doubt, and why lists are as they are.

    Without --user: importance, pictures, features that never help or flip their sign with time, and
    RUN/explanation.html with some users' lists. With --user: that user's list, place by place.

    Example: muma explain recipes/demo.toml

    Example: muma explain recipes/demo.toml --user 3911 --above 1 3 --without item

    Python: muma.app.explanations.explain_user(PipelineRecommender(config), "3911")
    """
    if user is None and (above is not None or without is not None):
        raise ConfigError("--above and --without are about one user's list; give --user as well")
    config = read_recipe(recipe, overrides=set_ or ())
    at_us = None if at is None else moment_us(at)
    if user is None:
        _everything(config, at_us, k, json=json)
        return
    with progress_bars(quiet=json):
        recommender = ready(config, at_us=at_us)
        found = explain_user(recommender, user, k, above=above, leave_out=without)
    if json:
        print_json(plain(asdict(found)))
        return
    show_user(found, left_out=without)


def _everything(config: AppConfig, at_us: int | None, k: int, *, json: bool) -> None:
    with progress_bars(quiet=json):
        trained = train_recipe(config, now_us=now_us())
        recommender = PipelineRecommender(config, at_us=at_us)
        test = unseen(trained, "lists")
        found = overview(trained, "lists", test)
        page = write_page(trained, recommender, test, users=some_users(trained), k=k)
        pictures: list[Any] = []
        try:
            pictures = draw_sample(test, config.folder, title=config.name)
        except MissingExtraError as missing:
            err.print(f"no pictures: {escaped(str(missing))}", soft_wrap=True)
        report = write_report(trained, judge_training(trained), found)
    if json:
        files = {"page": str(page), "pictures": [str(p) for p in pictures], "report": str(report)}
        print_json({**plain(asdict(found)), **files})
        return
    show_overview(found)
    out.print(f"page: {page}; with the pictures and the run: {report}", soft_wrap=True)
