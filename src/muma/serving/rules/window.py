"""`kind = "window"`: a selection is shown within a stretch of time: rights, embargo, expiry."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from muma.serving.recommending import Ask
from muma.serving.rules.moments import Moment
from muma.serving.rules.rule import Rule, RuleConfig


class WindowConfig(RuleConfig):
    """Settings; one of the moments at least.

    Attributes:
        shown_from: first moment the selection may be shown (start of rights, end of an embargo).
        shown_until: first moment it may no longer be shown (end of rights, expiry).
    """

    shown_from: Moment | None = None
    shown_until: Moment | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.shown_from is None and self.shown_until is None:
            raise ValueError("neither shown_from nor shown_until; give one")
        return self


class Window(Rule):
    """Forbids the selection when `time < shown_from` or `time >= shown_until`.

    An item's own rights, embargo and expiry (`ItemFact`) always hold and need no rule.
    """

    effect = "forbid"

    def __init__(self, config: WindowConfig) -> None:
        super().__init__(config)

    def concerns(self, ask: Ask) -> bool:
        """See `Rule.concerns`."""
        start, end = self.config.shown_from, self.config.shown_until
        return (start is not None and ask.time < start) or (end is not None and ask.time >= end)
