"""`muma recommend`: a named user's list."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from muma.app.config import read_recipe
from muma.app.evaluation import evaluate_recipe
from muma.app.recommendation import Recommender
from muma.artifact import exists
from muma.cli.show import show_answer
from muma.cli.terminal import (
    Json,
    Recipe,
    Set,
    err,
    friendly,
    now_us,
    print_json,
    progress_bars,
)  # fmt: skip


@friendly
def recommend(
    recipe: Recipe,
    user: Annotated[str, typer.Option("--user", "-u", help="The user's own id.")],
    k: Annotated[int, typer.Option("-k", min=1, max=10_000, help="Length of the list.")] = 10,
    model: Annotated[
        str | None, typer.Option("--model", help="A model of the recipe; default the served one.")
    ] = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Recommend items to a user with the models of the recipe's run; evaluates first if needed.

    A user that the log has never seen is answered as somebody without history.

    Example: muma recommend recipes/kuairand.toml --user 3911 -k 5

    Python: muma.app.recommendation.Recommender(config).answer(user)
    """
    config = read_recipe(recipe, overrides=set_ or ())
    with progress_bars(quiet=json):
        if not exists(config.folder / "results"):
            err.print(f"no run in {config.folder} yet: fitting the recipe's models first")
            evaluate_recipe(config, now_us=now_us())
        answer = Recommender(config, model=model).answer(user, k=k)
    if json:
        print_json(asdict(answer))
        return
    show_answer(answer)
