"""A love plot: standardised mean differences before and after, worst first."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from muma.errors import DataError
from muma.evaluation.causal.balance import BalanceTable
from muma.report.canvas import canvas
from muma.report.comparison import INK, QUIET
from muma.report.palette import DOWN, UP


def draw_balance(
    table: BalanceTable, path: str | Path, *, title: str, threshold: float = 0.1, most: int = 40
) -> None:
    """Draw |standardised mean difference| of each term and save the picture.

    Args:
        table: balance before and after.
        path: where the PNG goes.
        title: heading.
        threshold: the line below which a term counts as balanced.
        most: terms drawn, the largest (before or after) first.

    Raises:
        DataError: the table has no row.
        MissingExtraError: matplotlib is not installed.
    """
    if not table.rows:
        raise DataError("there is no balance term to draw")
    rows = sorted(table.rows, key=lambda row: -max(abs(row.before), abs(row.after)))[:most]
    rows.sort(key=lambda row: -abs(row.before))
    before, after = (np.abs([getattr(r, name) for r in rows]) for name in ("before", "after"))
    known = np.concatenate([before, after])
    right = max(float(known[np.isfinite(known)].max(initial=0.0)), threshold) * 1.06
    place = np.arange(len(rows))
    with canvas(path, width=7.2, height=1.5 + 0.29 * len(rows), title=title) as (_, axis):
        axis.axvspan(-0.015 * right, threshold, color=QUIET, alpha=0.18, lw=0)
        axis.axvline(threshold, color=QUIET, lw=1, ls=(0, (4, 3)), label=f"line of {threshold:g}")
        shown = [
            np.minimum(value, right) for value in (before, after)
        ]  # infinity stands at the edge
        axis.hlines(place, *shown, color=QUIET, lw=1.2, zorder=1)
        axis.scatter(shown[0], place, s=38, facecolor="white", edgecolor=UP, lw=1.5, label="before")
        axis.scatter(shown[1], place, s=38, color=DOWN, label="after")
        axis.set_yticks(place, [row.term for row in rows])
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_xlim(-0.015 * right, right * 1.02)
        axis.set_xlabel("|standardised mean difference|", fontsize=9, color=INK)
        axis.legend(fontsize=9, frameon=False, loc="lower right")
