"""The gate before a promotion: a candidate must not be worse on the last decisions than what answers now.

The contract is here; who judges is handed in, since judging is another room's work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import Field

from muma.config import Config, Spec
from muma.serving.bundle import Bundle


class GateConfig(Config):
    """Section `[serving.gate]`.

    Attributes:
        window_hours: decisions of the last so many hours judge.
        least_decisions: fewer with feedback are a thin log.
        most_decisions: the newest so many are looked at.
        tolerance: how far below the live version a candidate may lie at the lower end of the interval,
            as a share of the live version's value.
        level: confidence level of the interval.
        estimator: by import path, see `muma.evaluation.off_policy`; one that wants predicted rewards is
            given them by a model of the scores.
        on_thin_log: whether a candidate may pass when there is too little to judge by.
        pause_ms: rest after each decision, so that answers are not held up.
    """

    window_hours: float = Field(default=24.0, gt=0)
    least_decisions: int = Field(default=200, ge=2)
    most_decisions: int = Field(default=2_000, ge=2)
    tolerance: float = Field(default=0.05, ge=0)
    level: float = Field(default=0.95, gt=0, lt=1)
    estimator: Spec = Spec(use="muma.evaluation.off_policy.doubly_robust.DoublyRobust")
    on_thin_log: Literal["allow", "refuse"] = "allow"
    pause_ms: float = Field(default=1.0, ge=0)


@dataclass(frozen=True)
class GateVerdict:
    """What the gate found.

    Attributes:
        passed: whether the candidate may answer.
        reason: why, in words, with the figures.
        decisions: with feedback, that it was judged on.
        slots: shown slots of them.
        live: estimated reward of a slot under the live version; NaN where nothing was judged.
        gain: of the candidate over it.
        low, high: ends of the gain's interval.
        estimator: by its name.
        left_out: decisions of the window that could not be judged.
        forced: whether it was passed by although it did not let the candidate through.
    """

    passed: bool
    reason: str
    decisions: int = 0
    slots: int = 0
    live: float = float("nan")
    gain: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    estimator: str = ""
    left_out: int = 0
    forced: bool = False


class Gate(Protocol):
    """Judges a candidate."""

    def judge(self, candidate: Bundle) -> GateVerdict:
        """Compare it with what answers now; takes seconds, and is called in a thread of its own."""
        ...
