"""Eq. (6) with a rate that is learned, one for all dimensions.

    h_t = LSTM(x_t, h_{t-1}) exp(-exp(theta) gap / unit)

Shape: B users, T events.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from muma.interest.decays.decay import DecayConfig


class LearnedRateConfig(DecayConfig):
    """Parameters of `LearnedRate`.

    Attributes:
        rate: lambda before training, per `unit`.
    """

    rate: float = Field(default=0.01, gt=0)


class LearnedRate(nn.Module):
    """One learned rate; its logarithm is the parameter, so that it stays positive."""

    fades: Literal["output", "cell"] = "output"

    def __init__(self, config: LearnedRateConfig | None = None) -> None:
        super().__init__()
        self.config = config or LearnedRateConfig()
        self.log_rate = nn.Parameter(torch.tensor(math.log(self.config.rate)))

    def forward(self, gap_BT: Tensor) -> Tensor:
        """The share left, [B, T, 1]."""
        age_BT = gap_BT / self.config.unit
        return torch.exp(-torch.exp(self.log_rate) * age_BT)[..., None]
