"""Standard deviation of a measure, from its integer sum and sum of squares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from muma.features.families.blocks import refuse
from muma.features.families.mean import ratio
from muma.features.families.total import MeasuredConfig
from muma.features.feature import Cell, Feature, Moment, Partial
from muma.features.window import Decay


class SpreadConfig(MeasuredConfig):
    """The unit is coarser than for sums, so that squares of long dwells fit 64 bits.

    Attributes:
        unit: base units in one unit of state: 100 makes tenths of seconds of `dwell_ms`.
    """

    unit: int = 100


class StdDev:
    """`{key}.{of}.{measure}.std.{window}`, of the population; NaN without an event."""

    def __init__(self, config: SpreadConfig) -> None:
        self.config = config
        self._measure = config.of_measure()

    def features(self) -> Sequence[Feature]:
        """One feature a key, filter and window."""
        name, found = self.config.measure, []
        for key, of, window in self.config.combinations():
            refuse(window, (Decay,), "a standard deviation")
            partials = (
                Partial("add", self._measure, of),
                Partial("add", self.config.of_measure(power=2), of),
                Partial("count", self._measure, of),
            )
            found.append(
                Feature(
                    (f"{key.label}.{of}.{name}.std.{window.label}",),
                    tuple(Cell(key.name, window, partial) for partial in partials),
                )
            )
        return found

    def values(self, cells: Sequence[np.ndarray], moment: Moment) -> np.ndarray:
        """sqrt(E[x^2] - E[x]^2), at least 0."""
        del moment
        mean, square = ratio(cells[0], cells[2]), ratio(cells[1], cells[2])
        spread = np.sqrt(np.maximum(square - mean * mean, 0.0))
        return (spread * self._measure.size)[:, :, None]
