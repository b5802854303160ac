"""A gate that also sees how long ago the event was: the short-term view wins only while it is fresh.

    g = sigmoid(W_f [h_LSTM; h_Transformer] + w_t log(1 + wait) + b_f)
    h_user = g h_LSTM + (1 - g) h_Transformer

Yu et al., "Adaptive user modeling with long and short-term preferences" (SLi-Rec), IJCAI 2019.

Shape: B users, T events, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from muma.errors import DataError
from muma.interest.gates.gate import GateConfig, between


class TimedFusion(nn.Module):
    """A gate a dimension, from both views and the time to the present."""

    def __init__(self, config: GateConfig | None = None) -> None:
        super().__init__()
        self.config = config or GateConfig()
        self.gate = nn.Linear(2 * self.config.width + 1, self.config.width)

    def forward(self, short_BTD: Tensor, global_BTD: Tensor, wait_BT: Tensor | None) -> Tensor:
        """See `Gate`.

        Raises:
            DataError: the events do not say when their vectors are used.
        """
        if wait_BT is None:
            raise DataError(
                "the time-conditioned gate needs wait_BL; give events_of(..., at_B=...)"
            )
        wait_BT1 = torch.log1p(wait_BT)[..., None].to(short_BTD.dtype)
        share_BTD = torch.sigmoid(self.gate(torch.cat([short_BTD, global_BTD, wait_BT1], -1)))
        return between(global_BTD, short_BTD, share_BTD)
