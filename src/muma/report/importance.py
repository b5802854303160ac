"""Importance of features: mean absolute attribution, its bootstrap interval, coloured by group."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from muma.report.canvas import canvas, check_attributions, largest
from muma.report.comparison import INK
from muma.report.palette import group_colours
from muma.rng import derive


def importance(
    phi_NF: np.ndarray,
    *,
    group_N: np.ndarray | None = None,
    seed: int = 0,
    n_resamples: int = 500,
    level: float = 0.95,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean |phi| of each feature with its percentile interval: three float64 [F].

    Args:
        phi_NF: attributions, without the base.
        group_N: which list a row belongs to; lists are resampled whole. None: rows are.
        seed: of the bootstrap.
        n_resamples: bootstrap resamples.
        level: confidence.
    """
    size_NF = np.abs(phi_NF)
    group_N = np.arange(len(size_NF)) if group_N is None else group_N
    _, at_N = np.unique(group_N, return_inverse=True)
    n_G = np.bincount(at_N)
    sum_GF = np.zeros((len(n_G), size_NF.shape[1]))
    np.add.at(sum_GF, at_N, size_NF)
    rng = derive(seed, "importance")
    count_RG = rng.multinomial(len(n_G), np.full(len(n_G), 1 / len(n_G)), n_resamples)
    drawn_RF = (count_RG @ sum_GF) / (count_RG @ n_G)[:, None]
    low_F, high_F = np.quantile(drawn_RF, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return size_NF.mean(axis=0), low_F, high_F


def draw_importance(
    phi_NF: np.ndarray,
    columns: Sequence[str],
    groups: Sequence[str],
    path: str | Path,
    *,
    title: str,
    first: int = 15,
    group_N: np.ndarray | None = None,
    seed: int = 0,
    level: float = 0.95,
) -> None:
    """Draw a bar a feature and save the picture.

    Args:
        phi_NF: attributions of many answers, log-odds, without the base.
        columns: names of the F features.
        groups: the group of each.
        path: where the PNG goes.
        title: heading.
        first: features to draw, the most important ones.
        group_N: which list a row belongs to, for the intervals.
        seed: of the bootstrap.
        level: confidence of the intervals.

    Raises:
        DataError: the attributions do not fit the features or are not finite.
        MissingExtraError: matplotlib is not installed.
    """
    check_attributions(phi_NF, columns)
    mean_F, low_F, high_F = importance(phi_NF, group_N=group_N, seed=seed, level=level)
    chosen = [int(f) for f in largest(phi_NF, first)[::-1]]
    colours = group_colours([groups[f] for f in chosen[::-1]])
    with canvas(path, width=8.2, height=1.6 + 0.32 * len(chosen), title=title) as (_, axis):
        for at, f in enumerate(chosen):
            axis.barh(at, mean_F[f], height=0.66, color=colours[groups[f]])
            axis.plot([low_F[f], high_F[f]], [at, at], color=INK, lw=1.6, solid_capstyle="butt")
        for group, colour in colours.items():
            axis.barh(0, 0, color=colour, label=group)
        axis.set_yticks(range(len(chosen)), [columns[f] for f in chosen])
        axis.set_xlabel(
            f"mean |attribution|, log-odds, {level:.0%} interval", fontsize=9, color=INK
        )
        axis.legend(loc="lower right", fontsize=9, frameon=False, labelcolor=INK)
        axis.set_xlim(left=0)
        axis.margins(y=0.02)
