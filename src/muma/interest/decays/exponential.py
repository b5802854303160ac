"""Eq. (6) as printed: one fixed rate for all dimensions.

    h_t = LSTM(x_t, h_{t-1}) exp(-lambda gap / unit)

After a long gap the vector is zero and the old taste is gone; kept to compare with.

Shape: B users, T events.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from muma.interest.decays.decay import DecayConfig


class ExponentialConfig(DecayConfig):
    """Parameters of `Exponential`.

    Attributes:
        rate: lambda, per `unit`.
    """

    rate: float = Field(default=0.1, ge=0)


class Exponential(nn.Module):
    """The paper's decay, letter by letter.

    Example:
        >>> decay = Exponential(ExponentialConfig(rate=1.0, unit=60.0))
        >>> [round(share, 4) for share in decay(torch.tensor([[0.0, 60.0]])).flatten().tolist()]
        [1.0, 0.3679]
    """

    fades: Literal["output", "cell"] = "output"

    def __init__(self, config: ExponentialConfig | None = None) -> None:
        super().__init__()
        self.config = config or ExponentialConfig()

    def forward(self, gap_BT: Tensor) -> Tensor:
        """The share left, [B, T, 1]."""
        return torch.exp(gap_BT * (-self.config.rate / self.config.unit))[..., None]
