"""Feature definitions, tables, streams and vectors, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from muma.app.inspection import Inspection, Value
from muma.cli.show import moment, titled
from muma.cli.terminal import escaped, out, print_json
from muma.features.plan import Plan


def show_definitions(plan: Plan, *, as_json: bool) -> None:
    """Every column, its block and what it reads."""
    rows = plan.explain()
    if as_json:
        print_json(
            {
                "columns": len(plan.columns),
                "features": [
                    {"block": block, "reads": reads, "columns": list(columns)}
                    for block, reads, columns in rows
                ],
                "sequences": [spec.name for spec, _, _ in plan.sequences],
                "state_bytes": {kind.name: kind.width * 8 for kind in plan.kinds},
            }
        )
        return
    table = titled(f"{len(plan.columns):,} columns", "column")
    table.add_column("block")
    table.add_column("reads")
    for block, reads, columns in rows:
        for column in columns:
            table.add_row(column, block, escaped(reads))
    out.print(table)
    for spec, _, _ in plan.sequences:
        out.print(f"sequence {spec.name}: last {spec.length} {spec.where} of {spec.key}")
    sizes = ", ".join(f"{kind.name} {kind.width * 8:,} B" for kind in plan.kinds)
    out.print(f"resident state of a key: {sizes}", soft_wrap=True)


def show_materialised(report: Mapping[str, Any]) -> None:
    """What was written."""
    out.print(
        f"{report['rows']:,} rows x {report['columns']:,} columns, each row as of its own moment, in "
        f"{report['seconds']:.1f} s; written to {report['folder']}",
        soft_wrap=True,
    )


def show_stream(report: Mapping[str, Any]) -> None:
    """How a run of the engine ended."""
    rate = report["new_events"] / max(report["seconds"], 1e-9)
    verb = "stopped" if report["stopped"] else "done"
    out.print(
        f"{verb}: {report['new_events']:,} new events in {report['seconds']:.1f} s ({rate:,.0f}/s), "
        f"{report['events']:,} in the state of {report['state']} (commit {report['version']:,})",
        soft_wrap=True,
    )
    out.print(
        f"lag {report['lag_events']:,}, late for a window {report['late_dropped']:,}, "
        f"repeated {report['duplicates']:,}, quarantined {report['quarantined']:,}"
    )
    if "lines" in report:
        out.print(
            f"{report['lines']:,} lines read, {report['taken']:,} taken, {report['refused']:,} "
            "refused (see refused.jsonl in the run folder)"
        )


def show_inspection(found: Inspection, *, every: bool) -> None:
    """A user's vector."""
    what = "" if found.item is None else f" with item {found.item}"
    table = titled(f"user {found.user}{what} at {moment(found.at_us)} UTC", "feature")
    table.columns[0].no_wrap = True
    for name in ("value", "window", "from", "events", "newest"):
        table.add_column(
            name, justify="right" if name in ("value", "events") else "left", no_wrap=True
        )
    hidden = 0
    for value in found.values:
        if value.count == 0 and not every and value.window != "the moment":
            hidden += 1
            continue
        _row(table, value)
    out.print(table)
    if hidden:
        out.print(f"{hidden} values without an event are hidden; --all shows them")
    for name, entries in found.sequences.items():
        shown = ", ".join(str(entry["item"]) for entry in entries[:10])
        more = " ..." if len(entries) > 10 else ""
        out.print(f"sequence {name} (newest first): {shown or '-'}{more}", soft_wrap=True)
    out.print(
        f"stored under {found.key}; state of commit {found.version:,}, newest event "
        f"{moment(found.watermark_us)} UTC"
    )


def _row(table: Table, value: Value) -> None:
    newest = "".join(f"{moment(b.time_us)[5:]} {b.kind} {b.item}" for b in value.newest[:1])
    table.add_row(
        value.column,
        "-" if value.value is None else f"{value.value:.6g}",
        value.window,
        moment(value.start_us),
        f"{value.count:,}",
        escaped(newest),
    )
