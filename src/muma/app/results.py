"""What a comparison found, ready to be shown or written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from muma.evaluation.result import Result
from muma.evaluation.significance import Comparison


@dataclass(frozen=True)
class ModelReport:
    """One model's test results.

    Attributes:
        parameters: the chosen parameters that the recipe tunes.
        validation: primary metric on validation.
        tried: every tuned setting with its value.
        views: view -> metric -> result.
        comparison: against the baseline on the primary metric, all users; None for the baseline.
        against_served: against the served model, likewise; None for the served model.
        seconds: wall time of tuning, fitting and testing.
    """

    parameters: Mapping[str, Any]
    validation: float
    tried: tuple[tuple[dict[str, Any], float], ...]
    views: Mapping[str, Mapping[str, Result]]
    comparison: Comparison | None
    against_served: Comparison | None
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class Report:
    """What `evaluate` found, ready to be shown or written.

    Attributes:
        name: the recipe's name.
        ingest: the ingestion report.
        parts: events, first and last time (UTC microseconds) of train, validation and test.
        users: view -> measured users.
        masked: relevant test pairs dropped as seen before.
        level: confidence level of the intervals.
        primary: name of the primary metric.
        baseline: name of the baseline.
        served: the model that `recommend` uses.
        models: the results by model.
    """

    name: str
    ingest: Mapping[str, Any]
    parts: Mapping[str, tuple[int, int | None, int | None]]
    users: Mapping[str, int]
    masked: int
    level: float
    primary: str
    baseline: str
    served: str
    models: Mapping[str, ModelReport]

    def as_json(self) -> dict[str, Any]:
        """Plain data; NaN becomes None."""
        return plain(asdict(self))


def plain(value: Any) -> Any:
    """Data as JSON has it: NaN becomes None, NumPy's numbers Python's."""
    if isinstance(value, dict | Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.integer | np.bool_):
        return value.item()
    return value
