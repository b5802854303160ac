"""Regret and bias of policies over a simulation, with intervals over seeds.

Shape: C checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from muma.errors import DataError
from muma.optional import require
from muma.report.comparison import INK, QUIET
from muma.report.palette import OKABE_ITO, OTHER

_PANELS = (
    ("regret", "regret: rewards lost against the best arm"),
    ("bias", "bias: what it believes of an arm minus the truth"),
)
_WIDE = 20.0  # largest last bias over the typical one, from which the scale is not linear


def draw_policy_curves(
    curves: Mapping[str, Mapping[str, np.ndarray]], path: str | Path, *, title: str
) -> None:
    """Draw a panel for regret and one for bias, and save the picture.

    Where one policy's bias dwarfs the others', the bias axis is linear near 0 and logarithmic beyond.

    Args:
        curves: policy -> `rounds`, `regret`, `bias` and their `_low` and `_high`, float64 [C]; as of
            `Simulation.curves`. NaN intervals are not drawn.
        path: where the PNG goes.
        title: heading.

    Raises:
        DataError: there is nothing to draw.
        MissingExtraError: matplotlib is not installed.
    """
    if not curves:
        raise DataError("there are no curves to draw; simulate one policy at least")
    matplotlib = require("matplotlib", extra="plot")
    matplotlib.use("Agg")
    plt = require("matplotlib.pyplot", extra="plot")
    figure, axes = plt.subplots(1, 2, figsize=(10.5, 4.2), layout="constrained")
    colours = [*OKABE_ITO, *[OTHER] * len(curves)]
    for axis, (what, label) in zip(axes, _PANELS, strict=True):
        for (name, curve), colour in zip(curves.items(), colours, strict=False):
            axis.plot(curve["rounds"], curve[what], color=colour, lw=1.6, label=name)
            low_C, high_C = curve[f"{what}_low"], curve[f"{what}_high"]
            axis.fill_between(curve["rounds"], low_C, high_C, color=colour, alpha=0.18, lw=0)
        axis.set_title(label, fontsize=9, color=INK, loc="left")
        axis.set_xlabel("rounds", fontsize=8, color=INK)
        axis.set_xlim(0, None)
        _tidy(axis)
    axes[0].set_ylim(0, None)
    axes[1].axhline(0, color=INK, lw=0.8, zorder=0)
    largest = [float(np.abs(curve["bias"][-1])) for curve in curves.values()]
    typical = max(float(np.median(largest)), 1e-4)
    if max(largest) > _WIDE * typical:
        axes[1].set_yscale("symlog", linthresh=2 * typical)
    axes[0].legend(fontsize=8, frameon=False, loc="upper left")
    figure.suptitle(title, fontsize=11, color=INK, x=0.01, ha="left")
    figure.savefig(path, dpi=130, metadata={"Software": "muma"})
    plt.close(figure)


def _tidy(axis: Any) -> None:
    axis.tick_params(labelsize=7, colors=INK)
    axis.grid(axis="y", color=QUIET, alpha=0.3, lw=0.6)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_color(QUIET)
