"""A gated recurrent unit without regard to time, the recurrence of GRU4Rec.

Hidasi et al., "Session-based recommendations with recurrent neural networks", ICLR 2016.

Shape: B users, T events, D width.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from muma.config import Config
from muma.interest.branches.branch import cell_weights


class GRUConfig(Config):
    """Parameters of `GRU`.

    Attributes:
        width: D, of inputs and outputs.
    """

    width: int = Field(default=64, ge=1)


class GRU(nn.Module):
    """torch's own GRU as a `Branch`."""

    states = 1

    def __init__(self, config: GRUConfig | None = None) -> None:
        super().__init__()
        self.config = config or GRUConfig()
        self.cell = nn.GRU(self.config.width, self.config.width, batch_first=True)

    def forward(self, x_BTD: Tensor, gap_BT: Tensor) -> Tensor:  # noqa: ARG002 - time plays no part
        """Outputs after each event, [B, T, D]."""
        return self.cell(x_BTD)[0]

    def step(self, x_BD: Tensor, gap_B: Tensor, carry_BSD: Tensor) -> Tensor:  # noqa: ARG002
        """The output after one more event, [B, 1, D]."""
        h_BD = torch.gru_cell(x_BD, carry_BSD[:, 0], *cell_weights(self.cell))
        return h_BD[:, None]
