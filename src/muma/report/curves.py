"""Learning curves: the loss of each epoch, and the validation value where there is one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from muma.optional import require
from muma.report.comparison import ACCENT, INK, QUIET


def read_curves(folder: str | Path) -> dict[str, list[dict[str, Any]]]:
    """Name of each training below `folder` -> its rows, one an epoch."""
    return {
        path.parent.name: [json.loads(line) for line in path.read_text().splitlines() if line]
        for path in sorted(Path(folder).glob("*/curve.jsonl"))
    }


def draw_curves(
    curves: Mapping[str, Sequence[Mapping[str, Any]]], path: str | Path, *, title: str
) -> None:
    """Draw a panel a training and save the picture.

    Args:
        curves: name -> rows with `epoch`, `train_loss` and maybe `value`.
        path: where the PNG goes.
        title: heading.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib", extra="plot")
    matplotlib.use("Agg")
    plt = require("matplotlib.pyplot", extra="plot")
    columns = min(3, max(1, len(curves)))
    lines = -(-max(1, len(curves)) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(3.4 * columns, 0.6 + 2.2 * lines), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    panels = list(axes.flat)
    for axis, (name, rows) in zip(panels, curves.items(), strict=False):
        _panel(axis, rows)
        axis.set_title(name, fontsize=8, color=INK)
    for axis in panels[len(curves) :]:
        axis.set_axis_off()
    figure.suptitle(title, fontsize=11, color=INK, x=0.01, ha="left")
    figure.savefig(path, dpi=130, metadata={"Software": "muma"})
    plt.close(figure)


def _panel(axis: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    epochs = [row["epoch"] for row in rows]
    axis.plot(epochs, [row["train_loss"] for row in rows], color=INK, lw=1.2, marker=".", ms=3)
    axis.set_xlabel("epoch", fontsize=8, color=INK)
    axis.set_ylabel("training loss", fontsize=8, color=INK)
    axis.tick_params(labelsize=7, colors=INK)
    for side in ("top", "right"):
        axis.spines[side].set_color(QUIET)
    if any("value" in row for row in rows):
        other = axis.twinx()
        other.plot(
            epochs, [row.get("value") for row in rows], color=ACCENT, lw=1.2, marker=".", ms=3
        )
        other.set_ylabel("validation ndcg@10", fontsize=8, color=ACCENT)
        other.tick_params(labelsize=7, colors=ACCENT)
