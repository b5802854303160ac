"""The paper's figure 2: every answer's attribution to each feature, coloured by the value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from muma.report.canvas import canvas, check_attributions, largest, scale
from muma.report.comparison import INK, QUIET
from muma.report.palette import MISSING, SCALE, shades


def spread_out(x_N: np.ndarray, *, bins: int = 80, height: float = 0.42) -> np.ndarray:
    """Heights in [-`height`, `height`] by density: points of one bin stack around the middle line.

    Args:
        x_N: places along the axis.
        bins: how finely places are told apart.
        height: of the fullest bin.

    Example:
        >>> spread_out(np.array([0.0, 0.0, 0.0, 9.0])).round(2).tolist()
        [0.0, 0.42, -0.42, 0.0]
    """
    width = np.ptp(x_N) / bins
    bin_N = (
        np.zeros(len(x_N), int) if width == 0 else np.floor((x_N - x_N.min()) / width).astype(int)
    )
    order_N = np.argsort(bin_N, kind="stable")
    sorted_N = bin_N[order_N]
    nth_N = np.arange(len(x_N)) - np.searchsorted(sorted_N, sorted_N)
    layer_N = np.empty(len(x_N))
    layer_N[order_N] = np.where(nth_N % 2 == 1, (nth_N + 1) // 2, -(nth_N // 2))
    most = np.abs(layer_N).max(initial=0)
    return layer_N * (height / most if most > 0 else 0.0)


def draw_beeswarm(
    value_NF: np.ndarray,
    phi_NF: np.ndarray,
    columns: Sequence[str],
    path: str | Path,
    *,
    title: str,
    first: int = 15,
) -> None:
    """Draw a swarm a feature and save the picture.

    Args:
        value_NF: features; NaN is missing and drawn in light grey.
        phi_NF: attributions, log-odds, without the base.
        columns: names of the F features.
        path: where the PNG goes.
        title: heading.
        first: features to draw, the most important ones.

    Raises:
        DataError: the arrays do not fit, or an attribution is not finite.
        MissingExtraError: matplotlib is not installed.
    """
    check_attributions(phi_NF, columns, value_NF)
    chosen = largest(phi_NF, first)[::-1]
    size = float(np.clip(9000 / len(phi_NF), 3, 22))
    with canvas(path, width=8.6, height=1.5 + 0.38 * len(chosen), title=title) as (figure, axis):
        colours = scale(SCALE, MISSING)
        axis.axvline(0, color=QUIET, lw=1)
        drawn = None
        for at, f in enumerate(chosen):
            shade_N = shades(value_NF[:, f])
            heights_N = at + spread_out(phi_NF[:, f])
            drawn = axis.scatter(
                phi_NF[:, f], heights_N, c=shade_N, cmap=colours, vmin=0, vmax=1, s=size, lw=0,
                plotnonfinite=True,
            )  # fmt: skip
        bar = figure.colorbar(drawn, ax=axis, aspect=40, pad=0.01, ticks=[0, 1])
        bar.ax.set_yticklabels(["low", "high"], fontsize=9, color=INK)
        bar.ax.tick_params(length=0)
        bar.set_label("value of the feature (grey: missing)", fontsize=9, color=INK, labelpad=-14)
        bar.outline.set_visible(False)
        axis.set_yticks(range(len(chosen)), [columns[f] for f in chosen])
        axis.set_ylim(-0.7, len(chosen) - 0.3)
        axis.set_xlabel("attribution to the score, log-odds", fontsize=9, color=INK)
