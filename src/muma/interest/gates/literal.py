"""Eq. (8) as printed: a squashed linear map of both views.

    h_user = sigmoid(W_f [h_LSTM; h_Transformer] + b_f)

Every component lies in (0, 1), so that an inner product can only count likes, not dislikes; kept to
compare with.

Shape: B users, T events, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from muma.interest.gates.gate import GateConfig


class LiteralFusion(nn.Module):
    """The paper's fusion, letter by letter."""

    def __init__(self, config: GateConfig | None = None) -> None:
        super().__init__()
        self.config = config or GateConfig()
        self.joined = nn.Linear(2 * self.config.width, self.config.width)

    def forward(self, short_BTD: Tensor, global_BTD: Tensor, wait_BT: Tensor | None) -> Tensor:  # noqa: ARG002
        """See `Gate`."""
        return torch.sigmoid(self.joined(torch.cat([short_BTD, global_BTD], -1)))
