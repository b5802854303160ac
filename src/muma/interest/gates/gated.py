"""A learned gate between the two views, in the place of eq. (8)'s squashed sum.

    g = sigmoid(W_f [h_LSTM; h_Transformer] + b_f),   h_user = g h_LSTM + (1 - g) h_Transformer

Shape: B users, T events, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from muma.interest.gates.gate import GateConfig, between


class GatedFusion(nn.Module):
    """A gate a dimension, from both views."""

    def __init__(self, config: GateConfig | None = None) -> None:
        super().__init__()
        self.config = config or GateConfig()
        self.gate = nn.Linear(2 * self.config.width, self.config.width)

    def forward(self, short_BTD: Tensor, global_BTD: Tensor, wait_BT: Tensor | None) -> Tensor:  # noqa: ARG002
        """See `Gate`."""
        share_BTD = torch.sigmoid(self.gate(torch.cat([short_BTD, global_BTD], -1)))
        return between(global_BTD, short_BTD, share_BTD)
