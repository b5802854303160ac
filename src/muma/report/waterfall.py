"""A score, or a difference of two, as steps from a start to an end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from muma.errors import DataError
from muma.report.canvas import canvas
from muma.report.comparison import INK, QUIET
from muma.report.palette import DOWN, UP


def draw_waterfall(
    labels: Sequence[str],
    contributions: Sequence[float],
    path: str | Path,
    *,
    title: str,
    start: float,
    start_label: str = "base",
    end_label: str = "score",
    first: int = 10,
) -> None:
    """Draw the largest steps and save the picture; the small ones together make the last.

    For one answer `start` is the base; for "A above B" it is B's score, and the steps are the
    differences of attributions, so that the end is A's score.

    Args:
        labels: a text a feature, usually its name and value.
        contributions: the step of each, log-odds.
        path: where the PNG goes.
        title: heading.
        start: where the steps begin.
        start_label: what the start is.
        end_label: what the end is.
        first: steps to draw one by one.

    Raises:
        DataError: there are no steps, labels are too few or many, or a number is not finite.
        MissingExtraError: matplotlib is not installed.
    """
    if not labels or len(labels) != len(contributions):
        raise DataError(f"got {len(labels)} labels for {len(contributions)} contributions")
    if not all(map(math.isfinite, [start, *contributions])):
        raise DataError("a contribution or the start is not finite; explain with a fitted model")
    order = sorted(range(len(labels)), key=lambda f: -abs(contributions[f]))
    steps = [(labels[f], float(contributions[f])) for f in order[:first]]
    if rest := order[first:]:
        steps.append((f"{len(rest)} others", float(sum(contributions[f] for f in rest))))
    edge = start + np.concatenate([[0.0], np.cumsum([step for _, step in steps])])
    reach = float(np.ptp(edge)) or 1.0
    rows = len(steps)
    with canvas(path, width=8.6, height=1.7 + 0.36 * (rows + 2), title=title) as (_, axis):
        for at, (_, step) in enumerate(steps):
            y = rows - at
            axis.barh(y, step, left=edge[at], height=0.62, color=UP if step >= 0 else DOWN)
            axis.plot([edge[at + 1]] * 2, [y - 1.0, y], color=QUIET, lw=1, zorder=0)
            right = max(edge[at], edge[at + 1]) + 0.015 * reach
            axis.text(right, y, f"{step:+.2f}", va="center", fontsize=9, color=INK)
        for y, x in ((rows + 1, edge[0]), (0, edge[-1])):
            axis.plot(x, y, "D", color=INK, ms=6)
            axis.text(x + 0.03 * reach, y, f"{x:.2f}", va="center", fontsize=9, color=INK)
        axis.plot([edge[0]] * 2, [rows, rows + 1], color=QUIET, lw=1, zorder=0)
        names = [start_label, *[label for label, _ in steps], end_label]
        axis.set_yticks(range(rows + 1, -1, -1), names)
        axis.set_xlim(edge.min() - 0.04 * reach, edge.max() + 0.12 * reach)
        axis.set_ylim(-0.6, rows + 1.6)
        axis.set_xlabel("log-odds (orange raises, blue lowers)", fontsize=9, color=INK)
