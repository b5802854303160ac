"""How old an item is, and how fresh."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numba
import numpy as np
from pydantic import field_validator

from muma.config import Config
from muma.features.feature import Cell, Feature, Moment, Partial
from muma.features.measure import Measure
from muma.features.span import parse_span, show_span
from muma.features.window import SCALE, STEPS, WEIGHTS, AllTime


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
        seen_B = cells[0][:, 0] if cells else np.full(len(moment), np.nan)
        catalogue = self.config.born != "first_seen"
        found_BC = _age(
            moment.at_B, moment.published_B, seen_B, catalogue, self._half_life, WEIGHTS
        )
        return found_BC[:, None, :]


@numba.njit(cache=True, nogil=True)
def _age(
    at_B: np.ndarray,
    published_B: np.ndarray,
    seen_B: np.ndarray,
    catalogue: bool,
    half_life: int,
    weights: np.ndarray,
) -> np.ndarray:
    found_BC = np.full((len(at_B), 2), np.nan)
    for b in range(len(at_B)):
        known = catalogue and published_B[b] >= 0
        age = at_B[b] - (float(published_B[b]) if known else seen_B[b])
        if not age >= 0:  # unknown, or not yet born
            continue
        found_BC[b, 0] = age / 1e6
        whole = np.int64(age)
        # 2^-(k + s/64) = 2^-(k+1) * 2^((64-s)/64): the table, read backwards
        step = (whole % half_life) * STEPS // half_life
        weight = 2 * SCALE if step == 0 else weights[(STEPS - step) % STEPS]
        found_BC[b, 1] = math.ldexp(weight / (2 * SCALE), -min(int(whole // half_life), 1000))
    return found_BC
