"""A learned vector a place, counted from the first event of the history, as in SASRec.

    x_t + p_t

Kang and McAuley, "Self-attentive sequential recommendation", ICDM 2018.

Shape: B users, T events, D width.
"""

from __future__ import annotations

from torch import Tensor, nn

from muma.errors import DataError
from muma.interest.transformer_positions.position import PositionConfig


class LearnedPosition(nn.Module):
    """Adds a learned vector a place."""

    def __init__(self, config: PositionConfig | None = None) -> None:
        super().__init__()
        self.config = config or PositionConfig()
        self.place = nn.Embedding(self.config.length, self.config.width)

    def forward(self, x_BTD: Tensor, gap_BT: Tensor) -> tuple[Tensor, Tensor | None]:  # noqa: ARG002
        """See `Position`.

        Raises:
            DataError: the history is longer than `length`.
        """
        length = x_BTD.shape[1]
        if length > self.config.length:
            raise DataError(
                f"history of {length} events; places were learned for {self.config.length}: "
                "cut it to the newest, or raise length and fit again"
            )
        return x_BTD + self.place.weight[:length], None
