"""`muma match`: what did a treatment do, judged from data nobody randomised?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from muma.app.observational import Matched, draw, match_data
from muma.cli.show import titled
from muma.cli.terminal import Json, err, escaped, friendly, out, print_json, progress_bars
from muma.config import parse, parse_assignments
from muma.errors import MissingExtraError
from muma.evaluation.causal.design import DesignConfig
from muma.evaluation.causal.frozen import Effect
from muma.evaluation.causal.search import SearchConfig


@friendly
def match(
    data: Annotated[str, typer.Argument(help="CSV (also .csv.gz) or Parquet, one row a unit.")],
    treatment: Annotated[str, typer.Option("--treatment", "-t", help="Column of 0 and 1.")],
    covariates: Annotated[
        list[str],
        typer.Option(
            "--covariates", "-c", help="Columns known before the treatment: a,b,c; may be repeated."
        ),
    ],
    outcome: Annotated[
        str | None,
        typer.Option(
            "--outcome", "-y", help="Column to open; without it, only the design is made."
        ),
    ] = None,
    terms: Annotated[
        list[str] | None,
        typer.Option("--terms", help="The propensity model: age,age^2,re74=0; default: searched."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="A=B",
            help="Option of the design (estimand, method, matches, caliper, replacement, trim ...) "
            "or search.threshold; may be repeated.",
        ),
    ] = None,
    to: Annotated[str, typer.Option("--to", help="Folder of results.")] = "runs/match",
    json: Json = False,
) -> None:
    """Match or weigh on propensity until the groups are alike, then open the outcome.

    The specification is chosen on balance alone: the outcome's column is read after the design has
    been frozen and written. Every look is kept in TO/openings.jsonl. Writes TO/design.json,
    TO/effect.json, TO/balance.png and TO/overlap.png.

    Example: muma match nsw.csv -t treat -c age,education,re74,re75 -y re78 --set matches=5

    Example: muma match visits.parquet -t saw_ad -c age,visits --set method=aipw --set estimand=ate

    Python: muma.app.observational.match_data("nsw.csv", treatment="treat", covariates=["age"])
    """
    given = parse_assignments(set_ or (), option="--set")
    prefix = "search."
    for_search = {k.removeprefix(prefix): v for k, v in given.items() if k.startswith(prefix)}
    config = parse(
        DesignConfig, {k: v for k, v in given.items() if not k.startswith(prefix)}, where="design"
    )
    with progress_bars(quiet=json):
        found = match_data(
            data,
            treatment=treatment,
            covariates=_listed(covariates),
            outcome=outcome,
            terms=_listed(terms) if terms else None,
            config=config,
            search=parse(SearchConfig, for_search, where="search"),
            folder=to,
        )
        pictures: list[Path] = []
        try:
            pictures = draw(found, to, name=Path(data).stem)
        except MissingExtraError as missing:
            err.print(f"no picture: {escaped(str(missing))}", soft_wrap=True)
    if json:
        print_json({**found.as_json(), "pictures": [str(place) for place in pictures]})
        return
    _show_design(found)
    if found.effect is not None:
        _show_effect(found.effect, level=config.level)
    out.print(f"design, numbers and pictures: {to}", soft_wrap=True)


def _listed(texts: list[str]) -> list[str]:
    return [part.strip() for text in texts for part in text.split(",") if part.strip()]


def _show_design(found: Matched) -> None:
    design, over = found.design, found.design.overlap
    table = titled(f"balance before and after {design.config.method}", "term")
    for name in ("treated", "untreated", "SMD before", "SMD after", "VR before", "VR after"):
        table.add_column(name, justify="right")
    for row in sorted(design.balance.rows, key=lambda one: -abs(one.before)):
        table.add_row(
            escaped(row.term), f"{row.treated:.4g}", f"{row.untreated:.4g}", f"{row.before:+.3f}",
            f"{row.after:+.3f}", _ratio(row.ratio_before), _ratio(row.ratio_after),
        )  # fmt: skip
    out.print(table)
    balanced = design.balance.largest < found.threshold
    verdict = "balanced" if balanced else "[bold red]NOT BALANCED[/]"
    out.print(
        f"{verdict}: largest |SMD| {design.balance.largest:.3f} ({escaped(design.balance.worst.term)}), was "
        f"{design.balance.largest_before:.3f}; the line is {found.threshold:g}",
        soft_wrap=True,
    )
    out.print(f"propensity model: {escaped(' + '.join(design.terms.terms))}", soft_wrap=True)
    out.print(
        f"{over.treated:,} treated, {over.untreated:,} untreated; effectively "
        f"{over.treated_effective:,.0f} and {over.untreated_effective:,.0f}; {design.left_out:,} left out"
    )
    for doubt in over.doubts:
        out.print(f"[bold]doubt:[/] {escaped(doubt)}", soft_wrap=True)
    if not balanced:
        out.print(
            "[bold]doubt:[/] what differs between the groups may pass for an effect: try other terms, "
            "matches=5, method=weighting, a caliper or estimand=ato",
            soft_wrap=True,
        )


def _show_effect(effect: Effect, *, level: float) -> None:
    one, bare = effect.result, effect.naive
    out.print(
        f"[bold]{escaped(one.label)}: {_number(one.value)} [/]\\[{_number(one.low)}, {_number(one.high)}], "
        f"{level:.0%} interval, standard error {_number(effect.error)}",
        soft_wrap=True,
    )
    out.print(
        f"mean if treated {_number(effect.treated)}, if not {_number(effect.untreated)}; "
        f"{escaped(bare.label)}: {_number(bare.value)} \\[{_number(bare.low)}, {_number(bare.high)}]",
        soft_wrap=True,
    )
    limit = effect.e_value
    out.print(
        f"E-value {limit.point:.2f}, of the interval's near end {limit.limit:.2f}: a hidden cause must be "
        "tied to treatment and to outcome by risk ratios of this size to explain it away",
        soft_wrap=True,
    )
    if not math.isnan(effect.gamma):
        out.print(f"Rosenbaum's bound: the finding holds up to hidden bias {effect.gamma:.2f}")
    first = "the first look" if effect.looks == 1 else f"look {effect.looks}"
    if effect.blind:
        out.print(f"design {effect.design}, blind to outcomes; {first} at an outcome of this study")
    else:
        out.print(
            f"[bold red]design {effect.design} was made after another design had opened an outcome of this "
            f"study[/]; {first}: read its interval as exploratory",
            soft_wrap=True,
        )


def _ratio(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
