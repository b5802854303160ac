"""A picture of an off-policy evaluation: each estimator, its interval, and whether to trust it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muma.optional import require
from muma.report.comparison import ACCENT, INK, QUIET

_ROW = 0.52  # inches a row, room for two lines of reason
_LINE = 62  # characters of a line of reason


def draw_off_policy(
    report: Mapping[str, Any],
    path: str | Path,
    *,
    title: str,
    on_policy: float | None = None,
) -> None:
    """Draw the picture and save it.

    Filled marks are trusted, hollow ones are not, and the first reason stands beside them. A dashed
    interval belongs to an estimator that is biased by design: it does not claim to cover the value.

    Args:
        report: the evaluation, as `OffPolicyReport.to_json` gives it.
        path: where the PNG goes.
        title: heading.
        on_policy: value of the policy in a log of its own, drawn as a line; None where there is none.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib", extra="plot")
    matplotlib.use("Agg")
    plt = require("matplotlib.pyplot", extra="plot")
    rows = report["rows"]
    figure = plt.figure(figsize=(10.5, 1.7 + _ROW * len(rows)), layout="constrained")
    axis, words = figure.subplots(1, 2, sharey=True, width_ratios=[1.15, 1])
    for at, row in enumerate(rows):
        _row(axis, words, at, row)
    _lines(axis, report, on_policy)
    axis.set_yticks(
        range(len(rows)), [row["result"]["label"] for row in rows], fontsize=9, color=INK
    )
    axis.set_ylim(len(rows) - 0.4, -0.6)
    unit = "answer" if report["per_answer"] else "round"
    axis.set_xlabel(
        f"mean reward per {unit}, {report['level']:.0%} {report['interval']} interval",
        fontsize=8, color=INK,
    )  # fmt: skip
    axis.grid(axis="x", color=QUIET, alpha=0.3, lw=0.6)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="both", length=0, labelsize=8, colors=INK)
    words.axis("off")
    words.set_xlim(0, 1)
    figure.suptitle(f"{title}\n{_summary(report)}", fontsize=10, color=INK, x=0.01, ha="left")
    figure.legend(
        handles=_legend(on_policy), loc="outside lower left", ncols=5, fontsize=7.5, frameon=False
    )
    figure.savefig(path, dpi=130, metadata={"Software": "muma"})
    plt.close(figure)


def _row(axis: Any, words: Any, at: int, row: Mapping[str, Any]) -> None:
    result, trusted = row["result"], not row["reasons"]
    colour = ACCENT if trusted else QUIET
    if result["value"] is not None:
        if result["low"] is not None and result["high"] is not None:
            axis.plot(
                [result["low"], result["high"]], [at, at], color=colour, lw=2,
                ls="-" if row["consistent"] else (0, (2, 1.2)), solid_capstyle="round",
            )  # fmt: skip
        axis.plot(
            result["value"], at, "o", ms=6.5, color=colour, mew=1.6,
            mfc=colour if trusted else "white", zorder=3,
        )  # fmt: skip
    words.text(0, at, _said(row), fontsize=7.5, color=INK if trusted else "#7a3b2e", va="center")


def _said(row: Mapping[str, Any]) -> str:
    """Value, size, setting, and the first reason, in up to three lines."""
    result = row["result"]
    if result["value"] is None:
        return "undefined: no logged action could be the target's"
    text = f"{result['value']:.4g}, weighs as {result['effective_n']:,.0f} of {result['n']:,}"
    if row["parameter"] is not None:
        text += f", setting {row['parameter']:.3g}" + (
            " (chosen on this log)" if row["chosen"] else ""
        )
    if not row["reasons"]:
        return text
    more = len(row["reasons"]) - 1
    reason = "do not trust: " + row["reasons"][0] + (f" (and {more} more)" if more else "")
    return text + "\n" + "\n".join(textwrap.wrap(reason, _LINE)[:2])


def _lines(axis: Any, report: Mapping[str, Any], on_policy: float | None) -> None:
    axis.axvline(report["logged"]["value"], color=QUIET, lw=1.2, ls=":", zorder=0)
    if on_policy is not None:
        axis.axvline(on_policy, color=INK, lw=1.3, zorder=0)


def _summary(report: Mapping[str, Any]) -> str:
    found = report["diagnostics"]
    text = (
        f"{found['n']:,} rounds weigh as {found['tail']['effective_n']:,.0f}; "
        f"largest weight {found['tail']['largest']:.3g}, mean weight {found['mean_weight']:.3f}"
    )
    unsupported = found["unsupported_mass"]
    lost = found["unseen_mass"] if unsupported is None else unsupported
    return text + (f", {lost:.1%} of the target without support" if lost else "")


def _legend(on_policy: float | None) -> list[Any]:
    line = require("matplotlib.lines", extra="plot").Line2D
    handles = [
        line([], [], marker="o", color=ACCENT, lw=2, label="trusted"),
        line([], [], marker="o", color=QUIET, mfc="white", mew=1.6, lw=2, label="not to be trusted"),
        line([], [], color=ACCENT, lw=2, ls=(0, (2, 1.2)), label="biased by design: covers its own mean only"),
        line([], [], color=QUIET, lw=1.2, ls=":", label="policy that acted"),
    ]  # fmt: skip
    if on_policy is not None and math.isfinite(on_policy):
        handles.append(line([], [], color=INK, lw=1.3, label="target's value in its own log"))
    return handles
