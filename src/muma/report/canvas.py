"""Opening and saving a picture in the house's style, and checking what is to be drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from muma.errors import DataError
from muma.optional import require
from muma.report.comparison import INK, QUIET


@contextmanager
def canvas(
    path: str | Path, *, width: float, height: float, title: str
) -> Iterator[tuple[Any, Any]]:
    """A figure with one axis, saved to `path` at the end; sizes in inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib", extra="plot")
    matplotlib.use("Agg")
    plt = require("matplotlib.pyplot", extra="plot")
    figure, axis = plt.subplots(figsize=(width, height), layout="constrained")
    try:
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.spines["bottom"].set_color(QUIET)
        axis.tick_params(axis="both", length=0, labelsize=9, colors=INK)
        axis.grid(axis="x", color=QUIET, alpha=0.3, lw=0.6)
        axis.set_axisbelow(True)
        figure.suptitle(title, fontsize=12, color=INK, x=0.01, ha="left")
        yield figure, axis
        figure.savefig(path, dpi=130, metadata={"Software": "muma"})
    finally:
        plt.close(figure)


def scale(colours: Sequence[str], missing: str) -> Any:
    """A colour map through some colours; NaN is `missing`."""
    colormap = require("matplotlib.colors", extra="plot").LinearSegmentedColormap
    return colormap.from_list("muma", list(colours)).with_extremes(bad=missing)


def largest(phi_NF: np.ndarray, first: int) -> np.ndarray:
    """Indices of the features with the largest mean |attribution|, the largest first."""
    return np.argsort(-np.abs(phi_NF).mean(axis=0), kind="stable")[:first]


def check_attributions(
    phi_NF: np.ndarray, columns: Sequence[str], value_NF: np.ndarray | None = None
) -> None:
    """Refuse attributions that cannot be drawn.

    Raises:
        DataError: there is no row or feature, shapes differ, or an attribution is not finite.
    """
    shape = np.shape(phi_NF)
    if len(shape) != 2 or 0 in shape or shape[1] != len(columns):
        raise DataError(
            f"attributions are {shape} for {len(columns)} features; they must be [rows, features] "
            "with one of each at least, without the base"
        )
    if value_NF is not None and np.shape(value_NF) != shape:
        raise DataError(f"values are {np.shape(value_NF)} and attributions {shape}; both must fit")
    if not np.isfinite(phi_NF).all():
        raise DataError("an attribution is not finite; explain rows with a fitted model")
