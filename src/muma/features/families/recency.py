"""Time since the last event."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from muma.features.families.blocks import BlockConfig, refuse
from muma.features.feature import Cell, Feature, Moment, Partial
from muma.features.measure import Measure
from muma.features.window import Decay


class RecencyConfig(BlockConfig):
    """A block of recencies.

    Attributes:
        windows: how far back to look; `"all/90d"` forgets after 90 days.
    """

    windows: tuple[str, ...] = ("all/90d",)


class Recency:
    """`{key}.{of}.recency_s.{window}`: seconds since the last event; NaN without one."""

    def __init__(self, config: RecencyConfig) -> None:
        self.config = config

    def features(self) -> Sequence[Feature]:
        """One feature a key, filter and window; the state is the time of the last event."""
        found = []
        for key, of, window in self.config.combinations():
            refuse(window, (Decay,), "a recency")
            found.append(
                Feature(
                    (f"{key.label}.{of}.recency_s.{window.label}",),
                    (Cell(key.name, window, Partial("max", Measure("time"), of)),),
                )
            )
        return found

    def values(self, cells: Sequence[np.ndarray], moment: Moment) -> np.ndarray:
        """(at - last) in seconds."""
        return ((moment.at_B[:, None] - cells[0]) / 1e6)[:, :, None]
