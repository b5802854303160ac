"""Has the world moved since the rankers learned? Shown items of one stretch of time against another.

Inputs, the frozen ranker's attributions and its calibration are compared on the impressions table.
Where training rows are the reference, calibration is flattered: the ranker has seen their labels.

Shape: N rows, F features.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from muma.app.training import Trained
from muma.errors import ConfigError
from muma.ranking.drift.monitor import DriftConfig, DriftMonitor
from muma.ranking.drift.report import DriftReport, Finding
from muma.ranking.drift.window import Window
from muma.report.drift import Histogram, draw_drift
from muma.rng import derive

WINDOWS: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "valid": ("valid", "later"),
    "test": ("test",),
}
"""Name of a stretch -> roles of its folds."""


@dataclass(frozen=True)
class Drift:
    """What a check found.

    Attributes:
        label: whose ranker, and whose rate.
        reference, current: names of the stretches.
        reference_rows: rows of the reference.
        report: every statistic with its threshold.
        histograms: the three features whose values moved most.
    """

    label: str
    reference: str
    current: str
    reference_rows: int
    report: DriftReport
    histograms: Mapping[str, Histogram]

    def as_json(self) -> dict[str, Any]:
        """Plain data, without the histograms; what is undefined is None."""
        about = {"label": self.label, "reference": self.reference, "current": self.current}
        return {**about, "reference_rows": self.reference_rows, **self.report.to_json()}

    @property
    def worst(self) -> list[Finding]:
        """All findings, the furthest above their thresholds first."""
        return sorted(self.report.findings, key=lambda f: -f.value / max(f.threshold, 1e-12))


def check_drift(
    trained: Trained,
    *,
    reference: str = "valid",
    current: str = "test",
    label: str | None = None,
    config: DriftConfig | None = None,
    rows: int = 30_000,
) -> Drift:
    """Compare two stretches of the impressions.

    Args:
        trained: a finished training.
        reference: what is normal: `train` or `valid`.
        current: what is checked, a later stretch: `valid` or `test`.
        label: whose ranker; None takes the recipe's first.
        config: settings of the monitor; by default users are clusters and codes categories.
        rows: most rows of a stretch, drawn evenly.

    Raises:
        ConfigError: the log has no impressions, a name is unknown, the order of time is wrong, or the
            fusion is `"literal"`.
    """
    if "impressions" not in trained.rankers:
        raise ConfigError(
            "drift is checked on impressions, and the log has none; give it events of the kind "
            "'impression'"
        )
    names = list(WINDOWS)
    for name in (reference, current):
        if name not in WINDOWS:
            raise ConfigError(f"there is no stretch {name!r}; there are: {', '.join(names)}")
    if names.index(reference) >= names.index(current):
        raise ConfigError(
            f"the current stretch must come later than {reference!r}; got {current!r}"
        )
    labels = trained.rankers["impressions"].pairs
    label = next(iter(labels)) if label is None else label
    if label not in labels:
        raise ConfigError(f"there is no label {label!r}; the recipe has: {', '.join(labels)}")
    config = config or DriftConfig(categorical=trained.categorical, seed=trained.config.seed)
    before, now = (_window(trained, name, label, rows) for name in (reference, current))
    monitor = DriftMonitor(config).fit(before)
    report = monitor.check(now)
    moved = sorted(report.of("psi").values(), key=lambda f: -f.value / max(f.threshold, 1e-12))
    histograms = {
        one.feature: Histogram(*monitor.histogram(now, one.feature))
        for one in moved[:3]
        if one.feature is not None
    }
    return Drift(label, reference, current, len(before), report, histograms)


def write_drift(found: Drift, folder: Path) -> Path:
    """Write `drift.json` into the run folder."""
    path = folder / "drift.json"
    text = json.dumps(found.as_json(), indent=1, allow_nan=False)
    path.write_text(text, encoding="utf-8")
    return path


def draw(found: Drift, folder: Path, *, name: str) -> Path:
    """Draw `drift.png` into the run folder.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    path = folder / "drift.png"
    title = f"{name}, {found.label}: {found.current} against {found.reference}"
    draw_drift(found.as_json(), path, title=title, histograms=found.histograms)
    return path


def _window(trained: Trained, name: str, label: str, rows: int) -> Window:
    matrix = trained.matrices["impressions"].part(trained.folds, *WINDOWS[name])
    place_N = np.arange(len(matrix.rows))
    if len(place_N) > rows:
        rng = derive(trained.config.seed, "drift", name)
        place_N = np.sort(rng.choice(place_N, rows, replace=False))
    ranker = trained.rankers["impressions"]
    order = [matrix.columns.index(column) for column in ranker.columns]
    value_NF = ranker.served(np.ascontiguousarray(matrix.value_NF[place_N][:, order]))
    pair = ranker.pairs[label]
    return Window(
        columns=ranker.columns,
        value_NF=value_NF,
        cluster_N=matrix.rows.user_N[place_N],
        part_NF=pair.contributions(value_NF)[:, :-1],
        probability_N=expit(pair.margin(value_NF)),
        label_N=matrix.rows.labels[label][place_N],
    )
