"""`muma recommend`: a named user's list."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from muma.app.config import AppConfig, read_recipe
from muma.app.evaluation import evaluate_recipe
from muma.app.recommendation import Recommender
from muma.app.results import plain
from muma.app.serving_lists import PipelineRecommender
from muma.app.training import train_recipe
from muma.artifact import exists
from muma.cli.show import show_answer
from muma.cli.show_ranking import show_ranked
from muma.cli.terminal import (
    Json,
    Recipe,
    Set,
    err,
    friendly,
    moment_us,
    now_us,
    print_json,
    progress_bars,
)  # fmt: skip
from muma.errors import ConfigError


@friendly
def recommend(
    recipe: Recipe,
    user: Annotated[str, typer.Option("--user", "-u", help="The user's own id.")],
    k: Annotated[int, typer.Option("-k", min=1, max=10_000, help="Length of the list.")] = 10,
    model: Annotated[
        str | None, typer.Option("--model", help="A model of the recipe; default the served one.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="The pipeline's list, with a reason for each item.")
    ] = False,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", help="With --explain: moment in UTC, ISO 8601; default: the log's end."
        ),
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option(
            "--context", help="With --explain: NAME=VALUE of the request, as in ranking.context."
        ),
    ] = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Recommend items to a user with the models of the recipe's run; fits them first if needed.

    A user that the log has never seen is answered as somebody without history. With --explain the
    candidates of all sources are ranked by all features, and every place says why.

    Example: muma recommend recipes/kuairand.toml --user 3911 -k 5

    Example: muma recommend recipes/demo.toml --user 3911 --explain

    Example: muma recommend recipes/ranked.toml --user 3911 --explain --context tab=1

    Python: muma.app.recommendation.Recommender(config).answer(user), or, with reasons,
    muma.app.serving_lists.PipelineRecommender(config).answer(user)
    """
    if explain and model is not None:
        raise ConfigError("--explain is for the whole pipeline's list; leave --model out")
    if at is not None and not explain:
        raise ConfigError("--at needs --explain: only the pipeline knows features as of a moment")
    if context and not explain:
        raise ConfigError("--context needs --explain: only the pipeline reads a request's context")
    config = read_recipe(recipe, overrides=set_ or ())
    if explain:
        with progress_bars(quiet=json):
            pipeline = ready(config, at_us=None if at is None else moment_us(at))
            ranked = pipeline.answer(user, k, context=_named(context or []))
        if json:
            print_json(plain(asdict(ranked)))
            return
        show_ranked(ranked)
        return
    with progress_bars(quiet=json):
        if not exists(config.folder / "results"):
            err.print(f"no run in {config.folder} yet: fitting the recipe's models first")
            evaluate_recipe(config, now_us=now_us())
        answer = Recommender(config, model=model).answer(user, k=k)
    if json:
        print_json(asdict(answer))
        return
    show_answer(answer)


def _named(pairs: list[str]) -> dict[str, float | str]:
    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise ConfigError(f"--context {wrong[0]!r}: give NAME=VALUE, such as tab=1")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def ready(config: AppConfig, *, at_us: int | None = None) -> PipelineRecommender:
    """The pipeline, trained first if nothing of it is there."""
    if config.ranking is not None and not exists(config.folder / "ranking" / "rankers"):
        err.print(f"no rankers in {config.folder} yet: training them first")
        train_recipe(config, now_us=now_us())
    return PipelineRecommender(config, at_us=at_us)
