"""`muma ope`: what would another policy have earned on the past of this one?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muma.app.ope import PolicyJudgement, draw, judge_policy, write_judgement
from muma.cli.show import interval, titled
from muma.cli.terminal import Json, Set, err, escaped, friendly, out, print_json, progress_bars
from muma.config import parse_assignments
from muma.errors import ConfigError, MissingExtraError
from muma.evaluation.off_policy.evaluate import OffPolicyReport
from muma.evaluation.off_policy.groups import GroupReport

_COLOURS = {"helps": "green", "hurts": "red"}


@friendly
def ope(
    log: Annotated[
        str,
        typer.Argument(help="Parquet, CSV or folder of decisions: a row a shown slot; see below."),
    ],
    policy: Annotated[
        str,
        typer.Option(
            "--policy",
            "-p",
            help="uniform, logging, best-constant, greedy, learned; a recipe with [policy]; or the "
            "folder of a policy that --save wrote.",
        ),
    ] = "",
    target: Annotated[
        str | None,
        typer.Option(
            "--target", help="Table of probabilities: request_id, slot, item, probability."
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", help="Column of user groups: who is helped, who is hurt; repeatable."),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="NAME=COLUMN",
            help="What the log calls it: reward=click; repeatable.",
        ),
    ] = None,
    correction: Annotated[
        str, typer.Option("--correction", help="For many groups: holm or benjamini_hochberg.")
    ] = "holm",
    save: Annotated[
        str | None, typer.Option("--save", help="Folder for the policy that was learned.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of folds.")] = 0,
    to: Annotated[str, typer.Option("--to", help="Folder of results.")] = "runs/ope",
    set_: Set = None,
    json: Json = False,
) -> None:
    """Judge a policy on a log of decisions: estimators, intervals, and whether to trust them.

    The log has a row a shown slot: item, propensity (given the slots above) and reward; request_id and slot
    where answers have several slots, which are then valued whole; user, time, ctx_* columns (what a reward model may read) if there are any. Writes
    TO/ope.json, TO/ope.png and, with --by, TO/groups.png.

    A recipe's policy learns from the first half of the answers ([ope] learn = 0.5) and is judged on
    the rest; greedy, best-constant and learned are made fold by fold.

    Example: muma ope decisions.parquet --policy learned --save runs/policy --by country

    Example: muma ope clicks.csv --policy recipe.toml --set policy.temperature=0.2 --column reward=click

    Python: muma.app.ope.judge_policy("decisions.parquet", "greedy", by=["country"])
    """  # fmt: skip
    with progress_bars(quiet=json):
        found = judge_policy(
            log,
            policy,
            target=target,
            columns=parse_assignments(column or (), option="--column"),
            by=by or (),
            correction=correction,
            overrides=set_ or (),
            seed=seed,
        )
        if save is not None:
            if found.target.save is None:
                raise ConfigError("--save keeps a policy that was learned: use --policy learned")
            found.target.save(save)
        place, pictures = write_judgement(found, to), list[Path]()
        try:
            pictures = draw(found, to, name=Path(log).stem)
        except MissingExtraError as missing:
            err.print(f"no picture: {escaped(str(missing))}", soft_wrap=True)
    if json:
        print_json({**found.as_json(), "pictures": [str(picture) for picture in pictures]})
        return
    _show(found)
    shown = ", ".join(map(str, pictures)) or "-"
    out.print(f"all numbers: {place}; pictures: {shown}", soft_wrap=True)
    if save is not None:
        out.print(f"the policy learned from the whole log: {save}", soft_wrap=True)


def _show(found: PolicyJudgement) -> None:
    log = found.target.log
    out.print(
        f"{escaped(found.target.name)}: {escaped(found.target.told)}; judged on {len(log.logged):,} slots "
        f"of {log.answers:,} answers, {len(log.items):,} items",
        soft_wrap=True,
    )
    ranked = found.answers is not None
    below = ", the slots above as they were logged" if ranked else ""
    _show_report(found.rounds, f"reward of a slot{below}")
    if found.answers is not None:
        _show_report(found.answers, "reward of an answer, all slots")
    word, per = _word(found), ", per answer" if ranked else ""
    doubt = "" if found.trusted else " [bold red]DO NOT TRUST THIS[/]: see the reasons above"
    out.print(
        f"[bold]gain over the policy that acted ({found.estimator}, paired{per}): {interval(found.gain)}[/], "
        f"{word}{doubt}",
        soft_wrap=True,
    )
    if found.groups is not None:
        _show_groups(found.groups)


def _word(found: PolicyJudgement) -> str:
    """Whether the gain is told from 0."""
    if not found.gain.low <= found.gain.high:
        return "no interval: the log has too few units"
    return "excludes 0" if found.gain.excludes(0.0) else "holds 0: not separable"


def _show_report(report: OffPolicyReport, what: str) -> None:
    table = titled(f"{what}, {report.level:.0%} {report.interval} intervals", "estimator")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("units weigh as", justify="right")
    table.add_column("trust")
    table.add_row("policy that acted", interval(report.logged), f"{report.logged.n:,}", "")
    for row in report.rows:
        words = escaped("; ".join(row.reasons)) if row.reasons else "nothing against it"
        if not row.consistent:
            words += " (some bias for less spread)" if row.trusted else ""
        table.add_row(
            escaped(row.result.label), interval(row.result), f"{row.result.effective_n:,.0f}",
            words if row.trusted else f"[red]no:[/] {words}",
        )  # fmt: skip
    out.print(table)
    seen = report.diagnostics
    out.print(
        f"overlap: {seen.units:,} units weigh as {seen.tail.effective_n:,.0f}; largest weight "
        f"{seen.tail.largest:,.3g}, the top 1 % of slots carry {seen.tail.top_share:.0%}; mean weight "
        f"{seen.mean_weight:.3f} (1 when all is right); never shown: {seen.unseen_mass:.1%} of the choices",
        soft_wrap=True,
    )


def _show_groups(report: GroupReport) -> None:
    table = titled(f"gain by group, {report.estimator}", "group")
    for name in ("units", "acted", "gain", "p", "Holm", "B-H"):
        table.add_column(name, justify="right", no_wrap=name == "gain")
    table.add_column("word")
    for row in report.rows:
        colour = _COLOURS.get(row.effect)
        word = f"[{colour}]{row.effect}[/]" if colour else row.effect
        cells = [f"{p:.2g}" if p == p else "-" for p in (row.p, row.p_holm, row.p_bh)]  # noqa: PLR0124
        reasons = f": {escaped('; '.join(row.reasons))}" if row.reasons else ""
        table.add_row(
            escaped(f"{row.column} = {row.group}"), f"{row.gain.n:,}", f"{row.logging:.4f}",
            interval(row.gain), *cells, word + reasons,
        )  # fmt: skip
    out.print(table)
    for column, p in report.heterogeneity.items():
        told = "cannot be tested" if p != p else f"p = {p:.2g}"  # noqa: PLR0124 - NaN
        out.print(f"do the groups of {escaped(column)} differ from each other? {told}")
