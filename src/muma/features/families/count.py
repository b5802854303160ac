"""How many events: the paper's eq. (17), C_u(t) = sum of 1{x_i} over the window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from muma.features.families.blocks import BlockConfig
from muma.features.feature import Cell, Feature, Moment, Partial


class Count:
    """`{key}.{of}.count.{window}`; 0 without an event; fractional under decay."""

    def __init__(self, config: BlockConfig) -> None:
        self.config = config

    def features(self) -> Sequence[Feature]:
        """One feature a key, filter and window."""
        return [
            Feature(
                (f"{key.label}.{of}.count.{window.label}",),
                (Cell(key.name, window, Partial(where=of)),),
            )
            for key, of, window in self.config.combinations()
        ]

    def values(self, cells: Sequence[np.ndarray], moment: Moment) -> np.ndarray:
        """The count itself."""
        del moment
        return cells[0][:, :, None]
