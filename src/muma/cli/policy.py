"""`muma policy simulate`: what would policies cost in a world whose truth is known?"""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated, Any

import typer

from muma.cli.show import titled
from muma.cli.terminal import (
    Json,
    Set,
    err,
    escaped,
    friendly,
    out,
    print_json,
    progress_bars,
)
from muma.config import load_recipe, parse
from muma.errors import ConfigError, MissingExtraError
from muma.evaluation.result import Result
from muma.report.policy_curves import draw_policy_curves
from muma.simulation.outcome import Simulation
from muma.simulation.recipe import POLICIES, WORLDS, SimulationConfig, named, run

policy = typer.Typer(
    name="policy",
    help="Policies: what is shown, with what chance.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@policy.callback()
def _policy() -> None:
    """Policies: what is shown, with what chance."""


@policy.command("simulate")
@friendly
def simulate(
    recipe: Annotated[
        str | None, typer.Argument(help="TOML with the sections world and policies.NAME.")
    ] = None,
    world: Annotated[
        str | None,
        typer.Option("--world", "-w", help=f"{', '.join(WORLDS)}, or an import path."),
    ] = None,
    policies: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            "-p",
            help=f"{', '.join(POLICIES)}, or an import path; may be repeated. The first one is "
            "what the others are compared with.",
        ),
    ] = None,
    rounds: Annotated[int | None, typer.Option("--rounds", help="Requests of a game.")] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", help="Games of each policy.")] = None,
    to: Annotated[str, typer.Option("--to", help="Folder of results.")] = "runs/simulate",
    set_: Set = None,
    json: Json = False,
) -> None:
    """Play policies in a seeded world of known truth: their regret, and the bias of what they believe.

    All policies meet the same luck, so that differences are paired by seed; intervals are 95 % over
    seeds. Writes TO/simulation.json and TO/policies.png.

    Example: muma policy simulate --world drifting -p thompson -p cycle --rounds 50000 --seeds 20

    Example: muma policy simulate simulation.toml --set world.arms=50

    Python: muma.simulation.recipe.run(SimulationConfig(rounds=50000, seeds=20))
    """
    config = _config(recipe, world, policies, rounds=rounds, seeds=seeds, overrides=set_ or [])
    with progress_bars(quiet=json):
        played = run(config)
    folder = Path(to)
    folder.mkdir(parents=True, exist_ok=True)
    told = _told(config, played)
    (folder / "simulation.json").write_text(json_text.dumps(told, indent=1) + "\n")
    picture: Path | None = folder / "policies.png"
    try:
        shape = f"{config.rounds:,} rounds, {config.seeds} seeds"
        title = f"{config.world.use.rpartition('.')[2]}: {shape}"
        draw_policy_curves({n: played.curves(n) for n in played.plays}, picture, title=title)
    except MissingExtraError as missing:
        picture = None
        err.print(f"no picture: {escaped(str(missing))}", soft_wrap=True)
    if json:
        print_json({**told, "picture": None if picture is None else str(picture)})
        return
    _show(config, played)
    out.print(f"every number: {folder / 'simulation.json'}; picture: {picture or '-'}")


def _config(
    recipe: str | None,
    world: str | None,
    policies: list[str] | None,
    *,
    rounds: int | None,
    seeds: int | None,
    overrides: list[str],
) -> SimulationConfig:
    if recipe is None and overrides:
        raise ConfigError("--set changes a recipe; name one, or use --world, --policy and the like")
    data: dict[str, Any] = {} if recipe is None else load_recipe(recipe, overrides=overrides)
    if world is not None:
        data["world"] = named(world, WORLDS, what="world")
    if policies:
        short = [name.rpartition(".")[2] for name in policies]
        if len(set(short)) < len(short):
            raise ConfigError(f"--policy names {', '.join(short)}; each may come once")
        found = (named(name, POLICIES, what="policy") for name in policies)
        data["policies"] = dict(zip(short, found, strict=True))
    data |= {k: v for k, v in (("rounds", rounds), ("seeds", seeds)) if v is not None}
    return parse(SimulationConfig, data, where="simulation")


def _told(config: SimulationConfig, played: Simulation) -> dict[str, Any]:
    base = config.compared_with
    found = {}
    for name in played.plays:
        results = {
            "regret": played.regret(name),
            "bias": played.bias(name),
            "worst_error": played.worst(name),
        }
        if name != base:
            results["saved"] = played.saved(name, against=base)
        found[name] = {key: _plain(result) for key, result in results.items()}
    settings = config.model_dump(mode="json")
    return {"config": settings, "baseline": base, "seeds": [*played.seeds], "policies": found}


def _plain(result: Result) -> dict[str, float | None]:
    """A result without its label; an interval that is not defined is null."""
    known = result.low <= result.high
    low, high = (result.low, result.high) if known else (None, None)
    return {"value": result.value, "low": low, "high": high, "n": result.n}


def _show(config: SimulationConfig, played: Simulation) -> None:
    base = config.compared_with
    table = titled(
        f"{config.world.use.rpartition('.')[2]}, {config.rounds:,} rounds, {config.seeds} seeds",
        "policy",
    )
    for name in ("regret", f"saved against {base}", "bias", "worst arm"):
        table.add_column(escaped(name), justify="right", no_wrap=True)
    for name in played.plays:
        saved = None if name == base else played.saved(name, against=base)
        table.add_row(
            escaped(name),
            _interval(played.regret(name), 0),
            "-" if saved is None else _interval(saved, 0) + (" *" if saved.excludes(0) else ""),
            _interval(played.bias(name), 3),
            _interval(played.worst(name), 2),
        )
    out.print(table)
    out.print("* the 95 % interval over seeds, paired, excludes 0")
    out.print("bias and worst arm: what the policy believes of its arms against their true means")


def _interval(result: Result, digits: int) -> str:
    if not result.low <= result.high:
        return f"{result.value:.{digits}f}"
    return f"{result.value:.{digits}f} \\[{result.low:.{digits}f}, {result.high:.{digits}f}]"
