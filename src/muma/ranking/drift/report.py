"""What a drift check found: every value with its threshold, and the reasons of an alarm."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from muma.ranking.drift.calibration import Recalibration


@dataclass(frozen=True)
class Finding:
    """One statistic of one feature, or of the window.

    Attributes:
        kind: see `muma.ranking.drift.ruler`.
        feature: name of the feature; None for the whole window.
        value: the statistic.
        threshold: value above which it alarms, at this window's size.
        p_value: of this statistic alone, by resampling.
        adjusted: p-value over the whole check; an alarm's is at most the rate, up to ties.
        alarm: whether value > threshold.
        rule_of_thumb: of a PSI `"stable"`, `"moderate"` or `"major"` by 0.1 and 0.25; else None.
        asymptotic_p: of a KS distance, for independent rows and continuous values; else None.
    """

    kind: str
    feature: str | None
    value: float
    threshold: float
    p_value: float
    adjusted: float
    alarm: bool
    rule_of_thumb: str | None = None
    asymptotic_p: float | None = None


@dataclass(frozen=True)
class Curve:
    """A calibration curve: what was foretold and what happened in each bin of probability."""

    count: tuple[int, ...]
    foretold: tuple[float, ...]
    happened: tuple[float, ...]


@dataclass(frozen=True)
class DriftReport:
    """A check of one window against the reference.

    Attributes:
        rows: events of the current window.
        clusters: users, or what rows hang together by.
        rate: chance of a false alarm of the whole check.
        alarm: whether any finding alarms.
        reasons: one sentence for each alarm, the most surprising first.
        findings: all statistics, by kind and feature.
        recalibration: line through the current window's log-odds; None without labels.
        curves: calibration of the reference and of the current window; None without labels.
    """

    rows: int
    clusters: int
    rate: float
    alarm: bool
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...]
    recalibration: Recalibration | None = None
    curves: tuple[Curve, Curve] | None = None

    def of(self, kind: str) -> dict[str | None, Finding]:
        """Findings of one kind by feature."""
        return {f.feature: f for f in self.findings if f.kind == kind}

    def to_json(self) -> dict[str, Any]:
        """Plain data; what is undefined is None."""
        return _plain(asdict(self))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
