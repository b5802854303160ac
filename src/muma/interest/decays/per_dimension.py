"""A learned decay for every dimension, slow in time: some tastes last, others do not.

    h_t = LSTM(x_t, h_{t-1}) exp(-max(0, w log(1 + gap / unit) + b))

Che et al., "Recurrent neural networks for multivariate time series with missing values" (GRU-D),
Scientific Reports 2018, with log(1 + gap) for the gap, so that ten years do not erase everything.

Shape: B users, T events, D width.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from muma.interest.decays.decay import DecayConfig


class PerDimensionConfig(DecayConfig):
    """Parameters of `PerDimension`.

    Attributes:
        rate: w before training; positive, since a rate of zero would never learn.
    """

    rate: float = Field(default=0.01, gt=0)


class PerDimension(nn.Module):
    """A rate and a bias a dimension."""

    fades: Literal["output", "cell"] = "output"

    def __init__(self, config: PerDimensionConfig | None = None) -> None:
        super().__init__()
        self.config = config or PerDimensionConfig()
        self.rate_D = nn.Parameter(torch.full((self.config.width,), self.config.rate))
        self.bias_D = nn.Parameter(torch.zeros(self.config.width))

    def forward(self, gap_BT: Tensor) -> Tensor:
        """The share left, [B, T, D]."""
        age_BT1 = torch.log1p(gap_BT / self.config.unit)[..., None]
        return torch.exp(-functional.relu(torch.addcmul(self.bias_D, age_BT1, self.rate_D)))
