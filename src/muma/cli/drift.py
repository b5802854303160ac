"""`muma drift`: has the world moved since the rankers learned?"""

from __future__ import annotations

from typing import Annotated

import typer

from muma.app.config import read_recipe
from muma.app.drift import Drift, check_drift, draw, write_drift
from muma.app.training import train_recipe
from muma.cli.show import titled
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
from muma.errors import MissingExtraError


@friendly
def drift(
    recipe: Recipe,
    reference: Annotated[
        str, typer.Option("--reference", help="What is normal: train or valid.")
    ] = "valid",
    current: Annotated[
        str, typer.Option("--current", help="What is checked: valid or test.")
    ] = "test",
    label: Annotated[
        str | None, typer.Option("--label", help="Whose ranker; default the recipe's first label.")
    ] = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Compare inputs, attributions and calibration of two stretches of the shown items.

    Thresholds are resampled from the reference, whole users at a time, so that a check without any
    drift alarms once in twenty. Writes RUN/drift.json and RUN/drift.png.

    Example: muma drift recipes/demo.toml --reference valid --current test

    Python: muma.app.drift.check_drift(trained, reference="valid", current="test")
    """
    config = read_recipe(recipe, overrides=set_ or ())
    with progress_bars(quiet=json):
        trained = train_recipe(config, now_us=now_us())
        found = check_drift(trained, reference=reference, current=current, label=label)
        place, picture = write_drift(found, config.folder), None
        try:
            picture = draw(found, config.folder, name=config.name)
        except MissingExtraError as missing:
            err.print(f"no picture: {escaped(str(missing))}", soft_wrap=True)
    if json:
        print_json({**found.as_json(), "picture": None if picture is None else str(picture)})
        return
    _show(found)
    out.print(f"every statistic: {place}; picture: {picture or '-'}", soft_wrap=True)


def _show(found: Drift, *, first: int = 15) -> None:
    report = found.report
    verdict = "[bold red]ALARM[/]" if report.alarm else "no alarm"
    out.print(
        f"{found.label}: {report.rows:,} rows of {report.clusters:,} users of {found.current} against "
        f"{found.reference_rows:,} rows of {found.reference}: {verdict}",
        soft_wrap=True,
    )
    table = titled(f"the {first} statistics furthest above their thresholds", "statistic")
    table.add_column("feature", no_wrap=True)
    for name in ("value", "threshold", "adjusted p"):
        table.add_column(name, justify="right")
    table.add_column("alarm")
    for one in found.worst[:first]:
        cells = (f"{one.value:.3g}", f"{one.threshold:.3g}", f"{one.adjusted:.2g}")
        table.add_row(one.kind, one.feature or "-", *cells, "*" if one.alarm else "")
    out.print(table)
    alarms = [one for one in report.findings if one.alarm]
    by_kind = {kind: sum(one.kind == kind for one in alarms) for kind in {o.kind for o in alarms}}
    told = ", ".join(f"{kind} {count}" for kind, count in sorted(by_kind.items()))
    out.print(
        f"{len(alarms)} of {len(report.findings)} statistics alarm{': ' + told if told else ''}"
    )
    if (line := report.recalibration) is not None:
        out.print(
            f"recalibration of now: slope {line.slope:.3f} +- {1.96 * line.slope_error:.3f}, intercept "
            f"{line.intercept:+.3f} +- {1.96 * line.intercept_error:.3f} (1 and 0 when calibrated)"
        )
