"""The contract of this room: what an interest model takes and gives.

Arrays in, arrays out: no tensor leaves the room. Histories are `features.feature.Sequences`, the
same arrays that the online engine keeps, so that serving feeds the network what training saw.

Shape: B users, L events, D width, K interests, I items, S sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Interests:
    """What users want at a moment.

    Attributes:
        user_BD: float32 [B, D], or [B, K, D] for K interests; an item's score is the (greatest)
            inner product with its row of the item table.
        as_of_B: int64 microseconds, the time of the newest event that was seen; -1 without any.
        weights: name of a source -> float32 [B], its share in the fused vector of the newest event;
            NaN where the source was missing. Empty without fusion.
    """

    user_BD: np.ndarray
    as_of_B: np.ndarray
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
