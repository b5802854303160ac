"""Affinity: which part of a user's events fell on this item's category or author."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from muma.errors import ConfigError
from muma.features.families.blocks import BlockConfig
from muma.features.families.mean import ratio
from muma.features.feature import Cell, Feature, Moment, Partial


class Share:
    """`{pair}.{of}.share.{window}`: events of the pair over events of its first component.

    Keys must be pairs: `"user x category"` divides the user's events in this category by all of
    the user's events. NaN when the user has none.
    """

    def __init__(self, config: BlockConfig) -> None:
        self.config = config

    def features(self) -> Sequence[Feature]:
        """One feature a pair, filter and window."""
        found = []
        for key, of, window in self.config.combinations():
            if len(key.components) != 2:
                raise ConfigError(
                    f"a share needs a pair as key, such as 'user x category', got {key.name!r}"
                )
            partial = Partial(where=of)
            found.append(
                Feature(
                    (f"{key.label}.{of}.share.{window.label}",),
                    (
                        Cell(key.name, window, partial),
                        Cell(key.components[0], window, partial),
                    ),
                )
            )
        return found

    def values(self, cells: Sequence[np.ndarray], moment: Moment) -> np.ndarray:
        """Part over whole."""
        del moment
        return ratio(cells[0], cells[1])[:, :, None]
