"""Dependence of a feature's attribution on its value, coloured by its strongest partner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from muma.errors import ConfigError
from muma.report.canvas import canvas, check_attributions, scale
from muma.report.comparison import INK, QUIET
from muma.report.palette import MISSING, SCALE, shades


def strongest_partner(
    value_NF: np.ndarray, phi_NF: np.ndarray, feature: int, *, bins: int = 10
) -> int | None:
    """The feature that best tells attributions apart where the feature's own value is alike.

    Rows are cut into bins of equal size by the feature's value. Within a bin a partner explains
    r^2 of the variance of the attribution (r: correlation with the partner's value, missing as the
    bin's mean); the partner with the largest explained sum of squares over all bins wins.

    Returns:
        Its index; None if no partner explains anything.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x_NF = rng.normal(size=(200, 3))
        >>> strongest_partner(x_NF, x_NF * x_NF[:, [2]], 0)
        2
    """
    known_N = np.flatnonzero(np.isfinite(value_NF[:, feature]))
    order_N = known_N[np.argsort(value_NF[known_N, feature], kind="stable")]
    told_F = np.zeros(value_NF.shape[1])
    for part_n in np.array_split(order_N, min(bins, max(1, len(order_N) // 8))):
        if len(part_n) < 3:
            continue
        x_nF = value_NF[part_n].astype(np.float64)
        x_nF[~np.isfinite(x_nF)] = np.nan
        known_F = (~np.isnan(x_nF)).sum(axis=0)
        x_nF = x_nF - np.nansum(x_nF, axis=0) / np.maximum(known_F, 1)
        x_nF = np.nan_to_num(x_nF)
        y_n = phi_NF[part_n, feature] - phi_NF[part_n, feature].mean()
        square_F = (x_nF * x_nF).sum(axis=0)
        told_F += np.where(square_F > 1e-12, (y_n @ x_nF) ** 2 / np.maximum(square_F, 1e-12), 0.0)
    told_F[feature] = 0.0
    return int(np.argmax(told_F)) if told_F.max() > 1e-12 else None


def draw_dependence(
    value_NF: np.ndarray,
    phi_NF: np.ndarray,
    columns: Sequence[str],
    feature: str,
    path: str | Path,
    *,
    title: str,
    colour: str | None = None,
) -> None:
    """Draw a point an answer and save the picture.

    Args:
        value_NF: features; a missing value of `feature` stands at the left edge.
        phi_NF: attributions, log-odds, without the base.
        columns: names of the F features.
        feature: which one to draw.
        path: where the PNG goes.
        title: heading.
        colour: the feature that colours the points; None: `strongest_partner`.

    Raises:
        ConfigError: there is no such feature.
        DataError: the arrays do not fit, or an attribution is not finite.
        MissingExtraError: matplotlib is not installed.
    """
    check_attributions(phi_NF, columns, value_NF)
    for name in (feature, colour):
        if name is not None and name not in columns:
            raise ConfigError(f"no feature {name!r}; there are: {', '.join(columns)}")
    f = list(columns).index(feature)
    partner = (
        strongest_partner(value_NF, phi_NF, f) if colour is None else list(columns).index(colour)
    )
    x_N = value_NF[:, f].astype(np.float64)
    known_N = np.isfinite(x_N)
    with canvas(path, width=7.4, height=4.6, title=title) as (figure, axis):
        axis.grid(axis="y", color=QUIET, alpha=0.3, lw=0.6)
        axis.axhline(0, color=QUIET, lw=1)
        shade_N = np.full(len(x_N), 0.5) if partner is None else shades(value_NF[:, partner])
        low, high = (x_N[known_N].min(), x_N[known_N].max()) if known_N.any() else (0.0, 1.0)
        edge = low - 0.07 * ((high - low) or 1.0)
        drawn = axis.scatter(
            np.where(known_N, x_N, edge), phi_NF[:, f], c=shade_N,
            cmap=scale(SCALE, MISSING), vmin=0, vmax=1, s=16, lw=0, plotnonfinite=True,
        )  # fmt: skip
        if not known_N.all():
            axis.axvline(edge, color=MISSING, lw=1, zorder=0)
            axis.annotate("missing", (edge, 1), xycoords=("data", "axes fraction"), fontsize=9,
                          color=INK, ha="center", va="bottom")  # fmt: skip
        if partner is not None:
            bar = figure.colorbar(drawn, ax=axis, aspect=40, pad=0.01, ticks=[0, 1])
            bar.ax.set_yticklabels(["low", "high"], fontsize=9, color=INK)
            bar.ax.tick_params(length=0)
            bar.set_label(columns[partner], fontsize=9, color=INK, labelpad=-14)
            bar.outline.set_visible(False)
        axis.set_xlabel(feature, fontsize=9, color=INK)
        axis.set_ylabel("attribution, log-odds", fontsize=9, color=INK)
