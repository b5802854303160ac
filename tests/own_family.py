"""A family that somebody else might write: how much busier a key is now than it usually is."""

import numpy as np

from muma.features.families.blocks import BlockConfig
from muma.features.families.mean import ratio
from muma.features.feature import Cell, Feature, Partial
from muma.features.keys import KeyKind
from muma.features.window import Sliding

HOUR = 3_600_000_000
NOW, USUAL = Sliding(HOUR, HOUR // 4), Sliding(24 * HOUR, HOUR)


class Burst:
    """`{key}.burst`: events of the last hour over those of an average hour of the last day."""

    def __init__(self, config: BlockConfig) -> None:
        self.config = config

    def features(self):
        keys = [KeyKind.parse(key) for key in self.config.keys]
        return [
            Feature(
                (f"{key.label}.burst",), tuple(Cell(key.name, w, Partial()) for w in (NOW, USUAL))
            )
            for key in keys
        ]

    def values(self, cells, moment):
        del moment
        return ratio(cells[0], cells[1] / 24.0)[:, :, None]


class Moody(Burst):
    """Its answer depends on who else asks."""

    def values(self, cells, moment):
        return super().values(cells, moment) + np.float64(len(moment))
