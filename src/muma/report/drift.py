"""A page of a drift check: PSI against its thresholds, the features that moved most, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from muma.optional import require
from muma.report.comparison import ACCENT, INK, QUIET

_ALARM = "#b3402a"
_TINY = 1e-300  # an edge just below zero
_ROOM = 7  # names that fit beside each other
_RULES = (0.1, 0.25)


@dataclass(frozen=True)
class Histogram:
    """Counts of one feature in slots; what `DriftMonitor.histogram` returns.

    Attributes:
        edge_E: upper edges of the slots, inf or NaN where unused.
        reference_L: counts, two more than edges; missing values last.
        current_L: the same of the current window.
    """

    edge_E: np.ndarray
    reference_L: np.ndarray
    current_L: np.ndarray


def draw_drift(
    report: Mapping[str, Any],
    path: str | Path,
    *,
    title: str,
    histograms: Mapping[str, Histogram] | None = None,
    most: int = 20,
) -> None:
    """Draw the page and save it.

    Args:
        report: the check, as `DriftReport.to_json` gives it.
        path: where the PNG goes.
        title: heading.
        histograms: feature -> its counts; the first three are drawn, worst first as handed in.
        most: features in the bar chart, those nearest to or furthest above their thresholds.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib", extra="plot")
    matplotlib.use("Agg")
    plt = require("matplotlib.pyplot", extra="plot")
    shown = list((histograms or {}).items())[:3]
    panels = len(shown) + (report["curves"] is not None)
    bars = worst(report, "psi", most)
    height = max(2.6 + 0.24 * len(bars), 2.1 * max(panels, 1))
    figure = plt.figure(figsize=(10 if panels else 6, height), layout="constrained")
    grid = figure.add_gridspec(max(panels, 1), 2 if panels else 1)
    _bars(figure.add_subplot(grid[:, 0]), bars)
    for row, (name, histogram) in enumerate(shown):
        _histogram(figure.add_subplot(grid[row, 1]), name, histogram, legend=row == 0)
    if report["curves"] is not None:
        _calibration(figure.add_subplot(grid[len(shown), 1]), report["curves"])
    verdict = "ALARM" if report["alarm"] else "no alarm"
    figure.suptitle(
        f"{title}: {verdict}, {report['rows']:,} events of {report['clusters']:,} users, "
        f"false alarms {report['rate']:.0%} of checks",
        fontsize=11, color=INK, x=0.01, ha="left",
    )  # fmt: skip
    figure.savefig(path, dpi=130, metadata={"Software": "muma"})
    plt.close(figure)


def worst(report: Mapping[str, Any], kind: str, most: int) -> list[Mapping[str, Any]]:
    """Findings of a kind, those furthest above (or nearest to) their thresholds first."""
    found = [f for f in report["findings"] if f["kind"] == kind]
    return sorted(found, key=lambda f: -f["value"] / max(f["threshold"], 1e-12))[:most]


def _bars(axis: Any, findings: list[Mapping[str, Any]]) -> None:
    place = np.arange(len(findings))
    axis.barh(
        place, [f["value"] for f in findings], height=0.62,
        color=[_ALARM if f["alarm"] else ACCENT for f in findings],
    )  # fmt: skip
    axis.scatter(
        [f["threshold"] for f in findings], place, marker="|", s=140, lw=2, color=INK, zorder=3,
        label="threshold, resampled",
    )  # fmt: skip
    right = max([1.15 * max(f["value"], f["threshold"]) for f in findings], default=1.0)
    for rule in _RULES:
        if rule < right:
            axis.axvline(
                rule, color=QUIET, ls="--", lw=1, zorder=0,
                label="rules of thumb 0.1 and 0.25" if rule == _RULES[0] else None,
            )  # fmt: skip
    axis.set_yticks(place, [f["feature"] or "" for f in findings])
    axis.set_ylim(len(findings) - 0.4, -0.6)
    axis.set_xlim(0, right)
    axis.set_xlabel("population stability index", fontsize=8, color=INK)
    axis.legend(fontsize=7, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    _tidy(axis)


def _histogram(axis: Any, name: str, histogram: Histogram, *, legend: bool) -> None:
    used_E = np.isfinite(histogram.edge_E)
    edge_e = histogram.edge_E[used_E]
    label = [f"{e:.2g}" if abs(e) > _TINY else "< 0" for e in edge_e]
    shares = []
    for count_L in (histogram.reference_L, histogram.current_L):
        inner = np.asarray(count_L, dtype=np.float64)
        above = inner[len(edge_e) : -1].sum()
        shares.append(np.array([*inner[: len(edge_e)], above, inner[-1]]) / max(inner.sum(), 1))
    # neighbours are joined so that about ten bars of equal reference share are left
    step = max(1, -(-len(edge_e) // 10))
    start = np.append(np.arange(0, len(edge_e) or 1, step), [len(edge_e), len(edge_e) + 1])
    start = np.unique(start)
    was, now = (np.add.reduceat(share, start) for share in shares)
    place = np.arange(len(start))
    axis.bar(place - 0.2, was, 0.4, color=QUIET, label="reference")
    axis.bar(place + 0.2, now, 0.4, color=_ALARM, label="current")
    ends = [
        label[min(s + step, len(edge_e)) - 1] if s < len(edge_e) else
        "above" if s == len(edge_e) else "missing"
        for s in start
    ]  # fmt: skip
    if len(ends) > _ROOM:  # the two last ones always have a name
        ends = [end if i % 2 == 0 or i >= len(ends) - 2 else "" for i, end in enumerate(ends)]
        ends[-3] = ""
    axis.set_xticks(place, ends)
    axis.set_title(f"{name}: share of events by upper edge", fontsize=8, color=INK, loc="left")
    if legend:
        axis.legend(fontsize=7, frameon=False, loc="upper right")
    _tidy(axis)
    axis.tick_params(axis="x", labelsize=6.5)


def _calibration(axis: Any, curves: Sequence[Mapping[str, Any]]) -> None:
    top = max([*curves[0]["foretold"], *curves[0]["happened"], *curves[1]["happened"], 1e-6]) * 1.05
    axis.plot([0, top], [0, top], color=QUIET, lw=1, ls="--")
    for curve, colour, name in zip(curves, (QUIET, _ALARM), ("reference", "current"), strict=True):
        there = np.array(curve["count"]) > 0
        axis.plot(
            np.array(curve["foretold"])[there], np.array(curve["happened"])[there],
            color=colour, marker=".", lw=1.4, label=name,
        )  # fmt: skip
    axis.set_xlim(0, top)
    axis.set_ylim(0, top)
    axis.set_xlabel("foretold", fontsize=8, color=INK)
    axis.set_ylabel("happened", fontsize=8, color=INK)
    axis.set_title("calibration by bin of probability", fontsize=8, color=INK, loc="left")
    axis.legend(fontsize=7, frameon=False, loc="upper left")
    _tidy(axis)


def _tidy(axis: Any) -> None:
    axis.tick_params(labelsize=7, colors=INK)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_color(QUIET)
