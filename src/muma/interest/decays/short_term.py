"""T-LSTM: the short-term part of the cell fades, the long-term part stays.

    s = tanh(V c),   c <- (c - s) + s / log(e + gap / unit)

Baytas et al., "Patient subtyping via time-aware LSTM networks", KDD 2017, whose decay for long
gaps this is.

Shape: B users, T events, D width.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from muma.interest.decays.decay import DecayConfig


class ShortTerm(nn.Module):
    """Splits the cell and lets its short-term part fade.

    Example:
        >>> decay = ShortTerm(DecayConfig(width=4, unit=1.0))
        >>> decay(torch.tensor([[0.0, math.e**2 - math.e]])).flatten().tolist()
        [1.0, 0.5]
    """

    fades: Literal["output", "cell"] = "cell"

    def __init__(self, config: DecayConfig | None = None) -> None:
        super().__init__()
        self.config = config or DecayConfig()
        self.short = nn.Linear(self.config.width, self.config.width, bias=False)

    def forward(self, gap_BT: Tensor) -> Tensor:
        """The share of the short-term part that is left, [B, T, 1]."""
        return (1.0 / torch.log(math.e + gap_BT / self.config.unit))[..., None]
