"""How old an item is, and how fresh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import field_validator

from muma.config import Config
from muma.features.feature import Cell, Feature, Moment, Partial
from muma.features.measure import Measure
from muma.features.span import parse_span, show_span
from muma.features.window import SCALE, STEPS, WEIGHTS, AllTime, sub_step


class ItemAgeConfig(Config):
    """Age and freshness.

    Attributes:
        born: `published` takes the catalogue's time of publication, `first_seen` the item's first
            event, `either` the first event where the catalogue has no time.
        half_life: freshness is 1 at birth and halves with it.
    """

    born: Literal["published", "first_seen", "either"] = "either"
    half_life: str = "1d"

    @field_validator("half_life")
    @classmethod
    def _is_a_span(cls, text: str) -> str:
        parse_span(text)
        return text


class ItemAge:
    """`item.age_s` and `item.freshness.{half life}`; NaN for an item that is not born yet or unknown.

    Freshness is about 2^(-age / half_life), by the table of `window.py`: at most 1.1 % low.
    """

    def __init__(self, config: ItemAgeConfig) -> None:
        self.config = config
        self._half_life = parse_span(config.half_life)

    def features(self) -> Sequence[Feature]:
        """One feature of two columns; the state is the time of the item's first event."""
        first = Cell("item", AllTime(), Partial("min", Measure("time")))
        cells = () if self.config.born == "published" else (first,)
        columns = ("item.age_s", f"item.freshness.{show_span(self._half_life)}")
        return [Feature(columns, cells, keys=("item",))]

    def values(self, cells: Sequence[np.ndarray], moment: Moment) -> np.ndarray:
        """Age in seconds and freshness in (0, 1]."""
        published = np.where(moment.published_B >= 0, moment.published_B.astype(np.float64), np.nan)
        born = published
        if cells:
            seen = cells[0][:, 0]
            born = (
                seen if self.config.born == "first_seen" else np.where(np.isnan(born), seen, born)
            )
        age = moment.at_B - born
        age = np.where(age >= 0, age, np.nan)
        known = ~np.isnan(age)
        whole = np.where(known, age, 0.0).astype(np.int64)
        # 2^-(k + s/64) = 2^-(k+1) * 2^((64-s)/64): the table, read backwards
        step = sub_step(whole, self._half_life)
        weight = np.where(step == 0, 2 * SCALE, WEIGHTS[(STEPS - step) % STEPS]) / (2 * SCALE)
        fresh = np.ldexp(weight, -np.minimum(whole // self._half_life, 1000).astype(np.int32))
        return np.stack([age / 1e6, np.where(known, fresh, np.nan)], axis=-1)[:, None, :]
