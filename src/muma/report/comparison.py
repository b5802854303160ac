"""A forest plot of a comparison: each model's primary metric with its interval, per view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from muma.optional import require

INK, QUIET, ACCENT = "#1d2733", "#9aa7b4", "#0b6e8a"


def draw_comparison(
    results: Mapping[str, Mapping[str, Any]],
    path: str | Path,
    *,
    metric: str,
    users: Mapping[str, int],
    best: str,
    title: str,
    level: float = 0.95,
) -> None:
    """Draw one panel for each view and save the picture.

    Args:
        results: model -> view -> `Result` of the metric; a view may be absent.
        path: where the PNG goes.
        metric: name of the metric, for the axis.
        users: measured users by view, in the order of the panels.
        best: the model to draw in the accent colour.
        title: heading.
        level: confidence level of the intervals, for the axis.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib", extra="plot")
    matplotlib.use("Agg")
    plt = require("matplotlib.pyplot", extra="plot")
    views = [v for v in users if any(v in r for r in results.values())]
    models = sorted(results, key=lambda m: results[m][views[0]].value)
    figure, axes = plt.subplots(
        1, len(views), figsize=(2.6 + 2.9 * len(views), 1.3 + 0.34 * len(models)),
        sharey=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    for axis, view in zip(axes[0], views, strict=True):
        _panel(axis, models, [results[m].get(view) for m in models], best)
        axis.set_title(f"{view.replace('_', ' ')}, {users[view]:,} users", fontsize=9, color=INK)
        axis.set_xlabel(f"{metric}, {level:.0%} interval", fontsize=8, color=INK)
    axes[0][0].set_yticks(range(len(models)), models, fontsize=9, color=INK)
    figure.suptitle(title, fontsize=11, color=INK, x=0.01, ha="left")
    figure.savefig(path, dpi=130, metadata={"Software": "muma"})
    plt.close(figure)


def _panel(axis: Any, models: Sequence[str], found: Sequence[Any], best: str) -> None:
    for at, (model, result) in enumerate(zip(models, found, strict=True)):
        if result is None:
            continue
        colour = ACCENT if model == best else INK
        axis.plot([result.low, result.high], [at, at], color=colour, lw=2, solid_capstyle="round")
        axis.plot(result.value, at, "o", color=colour, ms=5)
    axis.grid(axis="x", color=QUIET, alpha=0.3, lw=0.6)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="both", length=0, labelsize=8, colors=INK)
    axis.set_xlim(left=0)
    axis.margins(y=0.08)
