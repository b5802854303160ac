"""Attention over sources: a scoring network weighs each one.

    F = sum_i a_i f_i                                                             (4)
    a_i = exp(g(f_i)) / sum_j exp(g(f_j))                                         (5)

The sum of (5) runs over the present sources only. g is a small feed-forward network that also reads
which source it scores, and with `context` the moment, so that a newcomer's friends may count for
more than an old hand's. `literal` is g of the printed equation, which reads the vector alone.

Shape: B rows, S sources, D width, C context, H hidden.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from muma.fusion.fuser import Fuser, FuserConfig, masked_softmax
from muma.fusion.layers import linear, table


class AttentionConfig(FuserConfig):
    """Parameters of `AttentionFuser`.

    Attributes:
        hidden: H, hidden width of g.
        literal: g reads the vector only, neither the source's identity nor the context.
    """

    hidden: int = Field(default=32, ge=1)
    literal: bool = False


class AttentionFuser(Fuser):
    """Equations (4) and (5).

    Example:
        >>> fuser = AttentionFuser(AttentionConfig(sources=3, width=4))
        >>> weight_NS = fuser(torch.ones(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)).weight_NS
        >>> bool(torch.allclose(weight_NS.sum(dim=1), torch.ones(2)))
        True
    """

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__(config)
        self.read = linear(config.width, config.hidden, self.rng)
        self.score_H = nn.Parameter(table(1, config.hidden, self.rng, scale=1.0)[0].detach())
        told = not config.literal
        self.source_SH = table(config.sources, config.hidden, self.rng) if told else None
        self.moment = (
            linear(config.context, config.sources * config.hidden, self.rng)
            if told and config.context
            else None
        )

    def _fuse(
        self, z_BSD: Tensor, present_BS: Tensor, context_BC: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        hidden_BSH = self.read(z_BSD)
        if self.source_SH is not None:
            hidden_BSH = hidden_BSH + self.source_SH
        if self.moment is not None:
            hidden_BSH = hidden_BSH + self.moment(context_BC).view_as(hidden_BSH)
        score_BS = torch.tanh(hidden_BSH) @ self.score_H
        weight_BS = masked_softmax(score_BS, present_BS)
        return torch.einsum("bs,bsd->bd", weight_BS, z_BSD), weight_BS
