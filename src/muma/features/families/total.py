"""Sum of a measure: dwell, completion, ratings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from muma.features.families.blocks import BlockConfig
from muma.features.feature import Cell, Feature, Moment, Partial
from muma.features.measure import Measure


class MeasuredConfig(BlockConfig):
    """A block over a measure.

    Attributes:
        measure: `dwell_ms`, `completion`, `value` or `position` (see `measure.py`).
        unit: base units in one unit of state; larger ones leave more room in 64 bits.
    """

    measure: str = "dwell_ms"
    unit: int = 1

    def of_measure(self, power: int = 1) -> Measure:
        """The measure, squared if `power` is 2."""
        return Measure(self.measure, self.unit, power)


class Sum:
    """`{key}.{of}.{measure}.sum.{window}` in the measure's natural unit; 0 without an event.

    Example:
        >>> config = MeasuredConfig(keys=("user",), of=("play",), windows=("7d/1d",))
        >>> Sum(config).features()[0].columns
        ('user.play.dwell_ms.sum.7d',)
    """

    def __init__(self, config: MeasuredConfig) -> None:
        self.config = config
        self._measure = config.of_measure()

    def features(self) -> Sequence[Feature]:
        """One feature a key, filter and window."""
        return [
            Feature(
                (f"{key.label}.{of}.{self.config.measure}.sum.{window.label}",),
                (Cell(key.name, window, Partial("add", self._measure, of)),),
            )
            for key, of, window in self.config.combinations()
        ]

    def values(self, cells: Sequence[np.ndarray], moment: Moment) -> np.ndarray:
        """The sum in natural units."""
        del moment
        return (cells[0] * self._measure.size)[:, :, None]
