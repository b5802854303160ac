"""A forest plot of gains by group: whom a policy helps, whom it hurts, and who cannot be judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from muma.errors import DataError
from muma.evaluation.off_policy.groups import GroupGain, GroupReport
from muma.report.canvas import canvas
from muma.report.comparison import INK, QUIET
from muma.report.palette import DOWN, OTHER, UP

_COLOURS = {"helps": DOWN, "hurts": UP, "not separable": INK, "undecidable": OTHER}
_LONG = 26  # letters of a group's name


def draw_groups(report: GroupReport, path: str | Path, *, title: str, unit: str = "reward") -> None:
    """Draw the groups column by column, the overall gain above them, and save the picture.

    Filled circles are told to differ from 0 after correction; hollow grey ones cannot be decided, and
    their intervals are dotted.

    Args:
        report: the gains.
        path: where the PNG goes.
        title: heading.
        unit: what a reward is, for the axis.

    Raises:
        DataError: there are no groups.
        MissingExtraError: matplotlib is not installed.
    """
    if not report.rows:
        raise DataError("there are no groups to draw; name a column")
    columns = list(dict.fromkeys(row.column for row in report.rows))
    lines = 1 + len(report.rows) + len(columns)
    height = 1.5 + 0.27 * lines
    with canvas(path, width=9, height=height, title=title) as (_, axis):
        _stripe(axis, report, lines)
        labels, places = ["all users"], [0.0]
        place = 0.0
        for column in columns:
            place += 1
            test = report.heterogeneity[column]
            told = "" if test != test else f"  (do its groups differ? p = {test:.2g})"  # noqa: PLR0124
            axis.text(
                0.0, place, f"{column}{told}", transform=axis.get_yaxis_transform(), fontsize=8.5,
                color=INK, weight="bold", va="center",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )  # fmt: skip
            for row in (r for r in report.rows if r.column == column):
                place += 1
                _mark(axis, row, place)
                labels.append(
                    row.group if len(row.group) <= _LONG else row.group[: _LONG - 1] + "…"
                )
                places.append(place)
        axis.set_yticks(places, labels, fontsize=8.5, color=INK)
        axis.set_ylim(lines - 0.4, -0.7)
        axis.axvline(0, color=QUIET, lw=1, zorder=1)
        _focus(axis, report)
        correction = "Holm" if report.config.correction == "holm" else "Benjamini-Hochberg"
        axis.set_xlabel(
            f"gain in {unit} over the policy that acted ({report.estimator}, "
            f"{report.config.level:.0%} intervals; colour: {correction} p < {report.config.q:g})",
            fontsize=8, color=INK,
        )  # fmt: skip
        _legend(axis, report)


def _stripe(axis: Any, report: GroupReport, lines: int) -> None:
    """The overall gain, and its interval as a band behind the groups."""
    one = report.overall
    if one.high >= one.low:
        axis.fill_betweenx([-0.7, lines - 0.4], one.low, one.high, color=QUIET, alpha=0.16, lw=0)
        axis.plot([one.low, one.high], [0, 0], color=INK, lw=2)
    axis.plot(one.value, 0, "D", color=INK, ms=6)


def _mark(axis: Any, row: GroupGain, place: float) -> None:
    gain, colour = row.gain, _COLOURS[row.effect]
    decided, told = row.effect != "undecidable", row.effect in {"helps", "hurts"}
    if gain.high >= gain.low:
        axis.plot(
            [gain.low, gain.high], [place, place], color=colour, lw=1.8 if decided else 1.0,
            ls="-" if decided else ":",
        )  # fmt: skip
    axis.plot(
        gain.value, place, "o", ms=6, color=colour, mew=1.4, zorder=3,
        mfc=colour if told else "white",
    )  # fmt: skip
    axis.text(
        1.01, place, f"{gain.n:,} units, weigh as {gain.effective_n:,.0f}", fontsize=7.5,
        color=INK if decided else OTHER, transform=axis.get_yaxis_transform(), va="center",
    )  # fmt: skip


def _focus(axis: Any, report: GroupReport) -> None:
    """Limits that show what can be decided whole; other intervals may run out of the picture."""
    shown = [report.overall, *(r.gain for r in report.rows if r.effect != "undecidable")]
    shown += [] if len(shown) > 1 else [r.gain for r in report.rows]
    ends = [end for one in shown for end in (one.low, one.high, one.value) if end == end]  # noqa: PLR0124
    low, high = min([*ends, 0.0]), max([*ends, 0.0])
    room = 0.06 * ((high - low) or 1.0)
    axis.set_xlim(low - room, high + room)


def _legend(axis: Any, report: GroupReport) -> None:
    there = [name for name in _COLOURS if any(row.effect == name for row in report.rows)]
    for name in there:
        axis.plot(
            [], [], "o", ms=6, color=_COLOURS[name], mew=1.4, label=name,
            mfc=_COLOURS[name] if name in {"helps", "hurts"} else "white",
        )  # fmt: skip
    axis.legend(
        fontsize=8, frameon=False, ncols=len(there), loc="lower right", bbox_to_anchor=(1.0, 1.0)
    )
