"""What the network reads of one event: item, fused sources, kind and dwell, as one vector.

    x = dropout(e_item + W_s source + e_kind + w_d max(dwell, 0) + w_0 [dwell is known])

Shape: B users, T events, D width, S width of the fused source vector.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from muma.errors import DataError
from muma.interest.batch import KINDS, Events
from muma.interest.dropout import Dropout


class Inputs(nn.Module):
    """Sums the parts that the config asks for.

    Args:
        width: D.
        kinds: whether the kind of event is read.
        dwell: whether its dwell time is read.
        source_width: S; 0 reads no sources.
        dropout: share of the components that training drops.
    """

    def __init__(
        self, width: int, *, kinds: bool, dwell: bool, source_width: int, dropout: float
    ) -> None:
        super().__init__()
        self.kind = nn.Embedding(KINDS, width) if kinds else None
        self.dwell = nn.Linear(2, width, bias=False) if dwell else None
        self.source = nn.Linear(source_width, width, bias=False) if source_width else None
        self.dropout = Dropout(dropout)

    def forward(self, item_BTD: Tensor, events: Events) -> Tensor:
        """Vectors of the events, [B, T, D].

        Raises:
            DataError: sources are asked for and missing, or of another width.
        """
        x_BTD = item_BTD
        if self.source is not None:
            given = events.source_BLD
            if given is None or given.shape[-1] != self.source.in_features:
                raise DataError(
                    f"the network reads fused sources of width {self.source.in_features}; "
                    f"got {None if given is None else given.shape[-1]}"
                )
            x_BTD = x_BTD + self.source(given)
        if self.kind is not None:
            x_BTD = x_BTD + self.kind(events.kind_BL)
        if self.dwell is not None:
            dwell_BT = events.dwell_BL.to(x_BTD.dtype)
            known_BT = dwell_BT >= 0
            pair_BT2 = torch.stack([dwell_BT * known_BT, known_BT.to(x_BTD.dtype)], -1)
            x_BTD = x_BTD + self.dwell(pair_BT2)
        return self.dropout(x_BTD)
