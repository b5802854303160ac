"""Multi-head self-attention over sources, then a learned question that pools them.

    T = [f_1 + e_1; ...; f_m + e_m],  T' = T + MHA(T, T, T)                       (as eq. 7)
    F = W_o sum_i a_i V T'_i,         a_i = mean over heads of softmax_i(q . K T'_i)   (4, 5)

e_i says which source a row is; keys of missing sources are masked everywhere. With `context` the
question q is shifted by a linear map of it.

Shape: B rows, S sources, D width, H heads, d = D / H, C context.
"""

from __future__ import annotations

import math

from pydantic import Field, model_validator
from torch import Tensor

from muma.fusion.fuser import Fuser, FuserConfig, masked_softmax
from muma.fusion.layers import linear, table


class SelfAttentionConfig(FuserConfig):
    """Parameters of `SelfAttentionFuser`.

    Attributes:
        heads: H; must divide the width.
    """

    heads: int = Field(default=4, ge=1)

    @model_validator(mode="after")
    def _divides(self) -> SelfAttentionConfig:
        if self.width % self.heads:
            raise ValueError(f"heads = {self.heads} does not divide width = {self.width}")
        return self


class SelfAttentionFuser(Fuser):
    """Sources read each other before they are pooled.

    Example:
        >>> import torch
        >>> fuser = SelfAttentionFuser(SelfAttentionConfig(sources=2, width=4))
        >>> fuser(torch.ones(1, 2, 4), torch.tensor([[False, True]])).weight_NS.tolist()
        [[0.0, 1.0]]
    """

    def __init__(self, config: SelfAttentionConfig) -> None:
        super().__init__(config)
        width, self.heads = config.width, config.heads
        self.source_SD = table(config.sources, width, self.rng)
        self.query_D = table(1, width, self.rng)
        self.mix_in, self.mix_out = (
            linear(width, 3 * width, self.rng),
            linear(width, width, self.rng),
        )
        self.pool_in, self.pool_out = (
            linear(width, 2 * width, self.rng),
            linear(width, width, self.rng),
        )
        self.moment = linear(config.context, width, self.rng) if config.context else None

    def _fuse(
        self, z_BSD: Tensor, present_BS: Tensor, context_BC: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        token_BSD = z_BSD + self.source_SD
        query, key, value = self.mix_in(token_BSD).chunk(3, dim=-1)
        mixed_BSD, _ = self._attend(query, key, value, present_BS)
        token_BSD = token_BSD + self.mix_out(mixed_BSD)
        key, value = self.pool_in(token_BSD).chunk(2, dim=-1)
        asked_BD = self.query_D.expand(len(z_BSD), -1)
        if self.moment is not None:
            asked_BD = asked_BD + self.moment(context_BC)
        pooled_B1D, weight_BH1S = self._attend(asked_BD[:, None], key, value, present_BS)
        return self.pool_out(pooled_B1D[:, 0]), weight_BH1S.mean(dim=1)[:, 0]

    def _attend(
        self, query_BQD: Tensor, key_BSD: Tensor, value_BSD: Tensor, present_BS: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Attention (7) with missing keys masked: [B, Q, D] and its weights [B, H, Q, S]."""

        def heads(x_BXD: Tensor) -> Tensor:
            return x_BXD.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        query, key, value = heads(query_BQD), heads(key_BSD), heads(value_BSD)
        score_BHQS = query @ key.transpose(-1, -2) / math.sqrt(key.shape[-1])
        weight_BHQS = masked_softmax(score_BHQS, present_BS[:, None, None].expand_as(score_BHQS))
        return (weight_BHQS @ value).transpose(1, 2).flatten(2), weight_BHQS
