"""Named filters: which events a feature counts, by kind, domain, context and area of interest."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from pydantic import Field, field_validator, model_validator

from muma.config import Config
from muma.errors import ConfigError
from muma.events.event import DOMAINS, KINDS
from muma.events.stream import ACTIONS, FIXATION

ANY = "any"


class Where(Config):
    """What an event must be; an empty list asks nothing.

    Attributes:
        kinds: kinds of event; empty takes all but fixations.
        domains: domains of event.
        context: `ctx_` column -> allowed values, compared as text.
        area: for fixations, the rectangle `[x0, y0, x1, y1]` (in [0, 1], x0 <= x < x1).
    """

    kinds: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    context: Mapping[str, tuple[str | int | bool, ...]] = Field(default_factory=dict)
    area: tuple[float, float, float, float] | None = None

    @field_validator("kinds")
    @classmethod
    def _known_kinds(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted(set(kinds) - set(ACTIONS)):
            raise ValueError(f"unknown kind {unknown[0]!r}; allowed: {', '.join(ACTIONS)}")
        return kinds

    @field_validator("domains")
    @classmethod
    def _known_domains(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted(set(domains) - set(DOMAINS)):
            raise ValueError(f"unknown domain {unknown[0]!r}; allowed: {', '.join(DOMAINS)}")
        return domains

    @model_validator(mode="after")
    def _sound(self) -> Where:
        if odd := [name for name in self.context if not name.startswith("ctx_")]:
            raise ValueError(f"context column {odd[0]!r} must begin with 'ctx_'")
        if self.area is not None:
            x0, y0, x1, y1 = self.area
            if not (x0 < x1 and y0 < y1):
                raise ValueError(f"area {self.area} is empty; write [x0, y0, x1, y1] with x0 < x1")
            if self.kinds != (FIXATION,):
                raise ValueError("an area is of fixations: set kinds = ['fixation']")
        return self

    def takes(self, kind: str, domain: str) -> bool:
        """Whether kind and domain pass, whatever context and area say."""
        kinds = self.kinds or KINDS
        return kind in kinds and (not self.domains or domain in self.domains)

    def details(self) -> list[pl.Expr]:
        """What context and area ask; empty when they ask nothing. Null columns do not pass."""
        tests = [
            pl.col(column).cast(pl.String).is_in([_text(value) for value in values])
            for column, values in self.context.items()
        ]
        if self.area is not None:
            x0, y0, x1, y1 = self.area
            tests += [pl.col("x") >= x0, pl.col("x") < x1, pl.col("y") >= y0, pl.col("y") < y1]
        return tests

    def test(self) -> pl.Expr:
        """Whether an event passes, as an expression over `STREAM_COLUMNS`."""
        kinds = pl.col("kind").cast(pl.String).is_in(self.kinds or KINDS)
        tests = [kinds, *self.details()]
        if self.domains:
            tests.append(pl.col("domain").cast(pl.String).is_in(self.domains))
        return pl.all_horizontal(tests).fill_null(False)


def _text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def filters(named: Mapping[str, Where]) -> dict[str, Where]:
    """The filters of a recipe beside the ones that always exist: `any`, and one per kind.

    Raises:
        ConfigError: a name is taken or holds a character that columns cannot have.
    """
    known = {ANY: Where()} | {kind: Where(kinds=(kind,)) for kind in ACTIONS}
    for name, where in named.items():
        if not name.isidentifier():
            raise ConfigError(f"filter {name!r}: a name is made of letters, digits and '_'")
        if name == ANY or (name in known and where != known[name]):
            raise ConfigError(f"filter {name!r} has the name of a built-in one; choose another")
        known[name] = where
    return known
