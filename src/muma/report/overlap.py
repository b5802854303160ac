"""Overlap: the propensities of both groups, back to back, as they are and with the design's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from muma.evaluation.causal.overlap import Overlap
from muma.optional import require
from muma.report.comparison import INK, QUIET
from muma.report.palette import DOWN, UP

_PROBABILITIES = (1e-5, 1e-4, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
_APART = 0.075  # of the axis, between two names


def draw_overlap(found: Overlap, path: str | Path, *, title: str) -> None:
    """Draw both groups' shares by propensity, on the log-odds scale, and save the picture.

    Args:
        found: the histograms.
        path: where the PNG goes.
        title: heading.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib", extra="plot")
    matplotlib.use("Agg")
    plt = require("matplotlib.pyplot", extra="plot")
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.9), sharey=True, layout="constrained")
    sizes = (
        f"{found.treated:,} treated, {found.untreated:,} untreated",
        f"effectively {found.treated_effective:,.0f} and {found.untreated_effective:,.0f}",
    )
    pairs = (
        (found.treated_S, found.untreated_S),
        (found.treated_after_S, found.untreated_after_S),
    )
    for axis, (one_S, zero_S), name, size in zip(
        axes, pairs, ("as they are", "with the design's weights"), sizes, strict=True
    ):
        _panel(axis, found.edge_S, one_S, zero_S)
        axis.set_title(f"{name}: {size}", fontsize=10, color=INK, loc="left")
    axes[0].set_ylabel("share of the group", fontsize=9, color=INK)
    axes[0].legend(fontsize=9, frameon=False, loc="upper left")
    figure.suptitle(title, fontsize=12, color=INK, x=0.01, ha="left")
    figure.savefig(path, dpi=130, metadata={"Software": "muma"})
    plt.close(figure)


def _panel(axis: Any, edge_S: np.ndarray, one_S: np.ndarray, zero_S: np.ndarray) -> None:
    width_S = np.diff(edge_S)
    axis.bar(edge_S[:-1], one_S, width_S, align="edge", color=UP, alpha=0.85, label="treated")
    axis.bar(edge_S[:-1], -zero_S, width_S, align="edge", color=DOWN, alpha=0.85, label="untreated")
    axis.axhline(0, color=INK, lw=0.8)
    axis.set_xlim(edge_S[0], edge_S[-1])
    places, names = probability_ticks(float(edge_S[0]), float(edge_S[-1]))
    axis.set_xticks(places, names)
    axis.yaxis.set_major_formatter(lambda value, _: f"{abs(value):.0%}")
    axis.set_xlabel("P(treated), on the log-odds scale", fontsize=9, color=INK)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.spines["bottom"].set_color(QUIET)
    axis.tick_params(labelsize=9, colors=INK, length=0)
    axis.grid(color=QUIET, alpha=0.3, lw=0.6)
    axis.set_axisbelow(True)


def probability_ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """Places in log-odds and names of probabilities inside [low, high], not too near each other.

    Example:
        >>> probability_ticks(-3.0, 0.5)[1]
        ['0.1', '0.5']
    """
    probabilities = [p for p in _PROBABILITIES if low <= np.log(p / (1 - p)) <= high]
    if len(probabilities) < 2:
        probabilities = [float(f"{p:.2g}") for p in expit(np.linspace(low, high, 5)[1:-1])]
        probabilities = list(dict.fromkeys(probabilities))
    places, names = [], []
    for p in probabilities:
        place = float(np.log(p / (1 - p)))
        if not places or place - places[-1] > _APART * (high - low):
            places.append(place)
            names.append(f"{p:.7f}".rstrip("0"))
    return places, names
