"""What an off-policy evaluation says: a row an estimator, with its verdict, and the overlap behind it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from muma.evaluation.off_policy.diagnostics import Diagnostics
from muma.evaluation.result import Result


@dataclass(frozen=True)
class OffPolicyRow:
    """One estimator's word.

    Attributes:
        result: value with its interval; `n` units, `label` the estimator's name.
        reasons: why not to trust it, in words; empty where nothing speaks against it.
        consistent: whether the interval claims to cover the true value at its level.
        parameter: clip, threshold, shrinkage or baseline in use; NaN where there is none.
        chosen: whether the parameter was chosen on this log.
    """

    result: Result
    reasons: tuple[str, ...]
    consistent: bool
    parameter: float
    chosen: bool

    @property
    def trusted(self) -> bool:
        """Whether nothing speaks against the estimate."""
        return not self.reasons


@dataclass(frozen=True)
class OffPolicyReport:
    """All estimators on one log.

    Attributes:
        rows: one an estimator, in the order asked.
        diagnostics: overlap of the policies.
        interval: name of the interval.
        level: its confidence level.
        per_answer: whether values are those of answers; else of rounds.
        logged: mean reward of the policy that acted, with its interval.
    """

    rows: tuple[OffPolicyRow, ...]
    diagnostics: Diagnostics
    interval: str
    level: float
    per_answer: bool
    logged: Result

    def row(self, name: str) -> OffPolicyRow:
        """The row of an estimator.

        Raises:
            KeyError: it was not asked.
        """
        return {row.result.label: row for row in self.rows}[name]

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers; NaN and infinity become None."""
        return _plain(asdict(self) | {"trusted": [row.trusted for row in self.rows]})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
