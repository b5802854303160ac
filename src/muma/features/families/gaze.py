"""Where the eyes rest: dwell per area of interest, and its share of attention."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from pydantic import Field, model_validator

from muma.features.families.blocks import BlockConfig, refuse
from muma.features.families.mean import ratio
from muma.features.feature import Cell, Feature, Moment, Partial
from muma.features.keys import KeyKind
from muma.features.measure import Measure
from muma.features.window import Gap, parse_window


class GazeConfig(BlockConfig):
    """Attention per area.

    Attributes:
        of: filters of fixations, one an area: `[features.filters.headline]` with
            `kinds = ["fixation"]` and `area = [x0, y0, x1, y1]`.
        whole: filter whose dwell is the whole that shares are of.
    """

    keys: tuple[str, ...] = Field(default=("user",), min_length=1)
    of: tuple[str, ...] = Field(default=("fixation",), min_length=1)
    whole: str = "fixation"

    @model_validator(mode="after")
    def _merges(self) -> GazeConfig:
        for text in self.windows:
            refuse(parse_window(text), (Gap,), "gaze")
        return self


class Gaze:
    """`{key}.gaze.{area}.dwell_ms.{window}` and `.share.`.

    Both are NaN when the key has no fixation in the window: a missing source is not a zero.
    """

    def __init__(self, config: GazeConfig) -> None:
        self.config = config

    def features(self) -> Sequence[Feature]:
        """One feature of two columns a key, area and window."""
        found, dwell = [], Measure("dwell_ms")
        config = self.config
        for text, area, span in product(config.keys, config.of, config.windows):
            key, window = KeyKind.parse(text), parse_window(span)
            stem = f"{key.label}.gaze.{area}"
            cells = (
                Cell(key.name, window, Partial("add", dwell, area)),
                Cell(key.name, window, Partial("add", dwell, config.whole)),
                Cell(key.name, window, Partial("count", dwell, config.whole)),
            )
            columns = (f"{stem}.dwell_ms.{window.label}", f"{stem}.share.{window.label}")
            found.append(Feature(columns, cells))
        return found

    def values(self, cells: Sequence[np.ndarray], moment: Moment) -> np.ndarray:
        """Dwell and share."""
        del moment
        dwell = np.where(cells[2] > 0, cells[0], np.nan)
        return np.stack([dwell, ratio(cells[0], cells[1])], axis=-1)
