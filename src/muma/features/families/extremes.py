"""Lowest and highest value of a measure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from muma.features.families.blocks import refuse
from muma.features.families.total import MeasuredConfig
from muma.features.feature import Cell, Feature, Moment, Partial
from muma.features.window import Decay


class MinMax:
    """`{key}.{of}.{measure}.min.{window}` and `.max.`; NaN without an event."""

    def __init__(self, config: MeasuredConfig) -> None:
        self.config = config
        self._measure = config.of_measure()

    def features(self) -> Sequence[Feature]:
        """One feature of two columns a key, filter and window."""
        name, found = self.config.measure, []
        for key, of, window in self.config.combinations():
            refuse(window, (Decay,), "a minimum or maximum")
            stem = f"{key.label}.{of}.{name}"
            found.append(
                Feature(
                    (f"{stem}.min.{window.label}", f"{stem}.max.{window.label}"),
                    (
                        Cell(key.name, window, Partial("min", self._measure, of)),
                        Cell(key.name, window, Partial("max", self._measure, of)),
                    ),
                )
            )
        return found

    def values(self, cells: Sequence[np.ndarray], moment: Moment) -> np.ndarray:
        """Both, in natural units."""
        del moment
        return np.stack([cells[0], cells[1]], axis=-1) * self._measure.size
