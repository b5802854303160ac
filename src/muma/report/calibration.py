"""Are probabilities what they say? A reliability diagram, one panel a label."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from muma.errors import DataError
from muma.evaluation.metrics.calibration import Reliability
from muma.optional import require
from muma.report.comparison import INK, QUIET
from muma.report.palette import OKABE_ITO


def draw_calibration(
    found: Mapping[str, Mapping[str, Reliability]], path: str | Path, *, title: str
) -> None:
    """Draw observed rates over predicted probabilities and save the picture.

    Bins with less than 1% of the rows are left out: their rates are mostly chance.

    Args:
        found: label -> model -> reliability.
        path: where the PNG goes.
        title: heading.

    Raises:
        DataError: there is no label.
        MissingExtraError: matplotlib is not installed.
    """
    if not found:
        raise DataError("there is no label whose calibration could be drawn")
    matplotlib = require("matplotlib", extra="plot")
    matplotlib.use("Agg")
    plt = require("matplotlib.pyplot", extra="plot")
    figure, axes = plt.subplots(
        1, len(found), figsize=(3.8 * len(found), 4.4), squeeze=False, layout="constrained"
    )
    for axis, (label, models) in zip(axes.flat, found.items(), strict=True):
        axis.plot([0, 1], [0, 1], color=QUIET, lw=1, ls=(0, (4, 3)))
        for (name, one), colour in zip(models.items(), OKABE_ITO, strict=False):
            keep_M = one.count_M >= 0.01 * one.count_M.sum()
            axis.plot(
                one.probability_M[keep_M], one.rate_M[keep_M], color=colour, lw=1.4, marker="o",
                ms=3.5, label=name,
            )  # fmt: skip
        axis.set(xlim=(0, 1), ylim=(0, 1), box_aspect=1)
        axis.set_xticks(np.linspace(0, 1, 6))
        axis.set_yticks(np.linspace(0, 1, 6))
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8, colors=INK, length=0)
        axis.grid(color=QUIET, alpha=0.3, lw=0.6)
        axis.set_title(label, fontsize=10, color=INK)
        axis.set_xlabel("predicted probability", fontsize=9, color=INK)
        axis.set_ylabel("observed rate", fontsize=9, color=INK)
        axis.legend(fontsize=8, frameon=False, loc="upper left")
    figure.suptitle(title, fontsize=11, color=INK, x=0.01, ha="left")
    figure.savefig(path, dpi=130, metadata={"Software": "muma"})
    plt.close(figure)
