"""Sessions: eq. (16)-(17) over gap sessions, the open one and the last closed one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from muma.config import Config
from muma.features.families.mean import ratio
from muma.features.feature import Cell, Feature, Moment, Partial
from muma.features.keys import KeyKind
from muma.features.measure import Measure
from muma.features.span import parse_span
from muma.features.window import Gap

COLUMNS = ("events", "length_s", "since_start_s", "since_end_s", "dwell_ms", "dwell_mean_ms")


class SessionConfig(Config):
    """Session features.

    Attributes:
        keys: kinds of key; usually `user`.
        gap: a longer pause than this ends a session, such as `"30m"`.
        member: filter an event must pass to belong to a session.
        counts: filters whose events are counted inside a session.
        which: the open session, the last closed one, or both.
        horizon: sessions that ended longer ago are forgotten.
    """

    keys: tuple[str, ...] = Field(default=("user",), min_length=1)
    gap: str = "30m"
    member: str = "any"
    counts: tuple[str, ...] = ("click",)
    which: tuple[Literal["open", "closed"], ...] = Field(default=("open", "closed"), min_length=1)
    horizon: str = "90d"

    @field_validator("gap", "horizon")
    @classmethod
    def _is_a_span(cls, text: str) -> str:
        parse_span(text)
        return text


class Session:
    """`{key}.session.{column}.{open|closed}{gap}`: events, seconds from its first to its last event,
    seconds since its start and end, dwell and mean dwell, and one count a filter (`n_click`).

    Counts and dwell are 0 and times NaN when there is no such session.
    """

    def __init__(self, config: SessionConfig) -> None:
        self.config = config

    def features(self) -> Sequence[Feature]:
        """One feature of all the columns a key and session."""
        config, found = self.config, []
        time, dwell = Measure("time"), Measure("dwell_ms")
        partials = (
            Partial("add", where=config.member),
            Partial("min", time, config.member),
            Partial("max", time, config.member),
            Partial("add", dwell, config.member),
            Partial("count", dwell, config.member),
            *(Partial("add", where=of) for of in config.counts),
        )
        for text, which in product(config.keys, config.which):
            key = KeyKind.parse(text)
            window = Gap(parse_span(config.gap), which, config.member, parse_span(config.horizon))
            names = (*COLUMNS, *(f"n_{of}" for of in config.counts))
            found.append(
                Feature(
                    tuple(f"{key.label}.session.{name}.{window.label}" for name in names),
                    tuple(Cell(key.name, window, partial) for partial in partials),
                )
            )
        return found

    def values(self, cells: Sequence[np.ndarray], moment: Moment) -> np.ndarray:
        """All columns."""
        events, start, end, dwell, dwells, *counts = cells
        at = moment.at_B[:, None]
        value_BFC = np.empty((*events.shape, len(COLUMNS) + len(counts)))
        columns = [events, end - start, at - start, at - end, dwell, ratio(dwell, dwells), *counts]
        for place, column in enumerate(columns):
            value_BFC[..., place] = column
        value_BFC[..., 1:4] /= 1e6  # from microseconds
        return value_BFC
