"""`kind = "without"`: a selection is left out, by tag, category, author, domain, item or age."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from muma.serving.rules.rule import Rule, RuleConfig


class WithoutConfig(RuleConfig):
    """Settings; `select` must not be empty.

    Example:
        >>> WithoutConfig(id="no-war", select={"tags_any": ("war",)}).select.tags_any
        ('war',)
    """

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.select.empty:
            raise ValueError(
                "select is empty: that would forbid every item; name what to leave out"
            )
        return self


class Without(Rule):
    """Forbids the selection. An item that lacks the attribute asked for is not forbidden."""

    effect = "forbid"

    def __init__(self, config: WithoutConfig) -> None:
        super().__init__(config)
