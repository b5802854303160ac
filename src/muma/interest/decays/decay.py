"""The contract of a decay: how much of a memory is left after a gap.

Shape: B users, T events, D width.
"""

from __future__ import annotations

from typing import Literal, Protocol

from pydantic import Field
from torch import Tensor

from muma.config import Config

SECOND, HOUR, DAY = 1.0, 3600.0, 86400.0


class DecayConfig(Config):
    """Parameters of every decay.

    Attributes:
        width: D.
        unit: seconds that count as one; a day unless something shorter is natural to the product.
    """

    width: int = Field(default=64, ge=1)
    unit: float = Field(default=DAY, gt=0)


class Decay(Protocol):
    """The share that is left after a gap, in [0, 1]; 1 after no time."""

    fades: Literal["output", "cell"]
    """What fades: the output h (eq. 6), or the short-term part of the cell (T-LSTM)."""

    def __call__(self, gap_BT: Tensor) -> Tensor:
        """The share left, [B, T, 1] or, for an output, [B, T, D].

        Args:
            gap_BT: float [B, T], seconds, not negative.
        """
        ...
