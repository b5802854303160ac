"""The global view: causal self-attention over a history (eq. 7), in pre-norm blocks.

    Attention(Q, K, V) = softmax(Q K' / sqrt(d_k) + bias) V

Histories start at position 0, so causality alone hides the padding behind them.

Shape: B users, T events, D width, H heads.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from muma.config import Config, Spec, build
from muma.errors import ConfigError
from muma.interest.dropout import Dropout


class TransformerConfig(Config):
    """Parameters of `Transformer`.

    Attributes:
        width: D, a multiple of `heads`.
        length: longest history, for the parts that learn a vector a position.
        blocks, heads: number of each.
        feedforward: width of the inner layer, in multiples of D.
        dropout: share of components dropped in training, in every block.
        attention_dropout: share of attention weights dropped in training; None drops `dropout`. With
            0 a training step is about a third quicker, and without a bias its memory grows linearly
            with the length.
        position: how places and times are told apart; a class of `transformer_positions`. None: the
            order of events is known only through what the inputs carry.
    """

    width: int = Field(default=64, ge=1)
    length: int = Field(default=200, ge=1)
    blocks: int = Field(default=2, ge=1)
    heads: int = Field(default=2, ge=1)
    feedforward: float = Field(default=4.0, gt=0)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    attention_dropout: float | None = Field(default=None, ge=0, lt=1)
    position: Spec | None = None


class Block(nn.Module):
    """One pre-norm block: attention, then a two-layer network, each added to its input."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, inner = config.width, max(1, round(config.feedforward * config.width))
        self.heads = config.heads
        self.norm_attention, self.norm_inner = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner = nn.Sequential(
            nn.Linear(width, inner), nn.GELU(), Dropout(config.dropout), nn.Linear(inner, width)
        )
        self.dropout = Dropout(config.dropout)
        given = config.attention_dropout
        self.drop_weights = Dropout(config.dropout if given is None else given)

    def forward(self, x_BTD: Tensor, bias: Tensor | None) -> Tensor:
        """See `Transformer`; `bias` broadcasts to [B, H, T, T] and hides the future itself."""
        qkv = self.qkv(self.norm_attention(x_BTD)).unflatten(-1, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = _attend(query, key, value, bias, self.drop_weights)
        x_BTD = x_BTD + self.dropout(self.out(mixed.transpose(1, 2).flatten(2)))
        return x_BTD + self.dropout(self.inner(self.norm_inner(x_BTD)))


def _attend(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, drop: Dropout
) -> Tensor:
    """Eq. (7) for [B, H, T, D / H] each."""
    if not drop.active:
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask=bias, is_causal=bias is None
        )
    if bias is None:
        steps = query.shape[2]
        future = torch.ones(steps, steps, dtype=torch.bool, device=query.device).triu(1)
        bias = query.new_zeros(steps, steps).masked_fill(future, -torch.inf)
    logit_BHTT = (query * query.shape[-1] ** -0.5) @ key.transpose(2, 3) + bias
    return drop(torch.softmax(logit_BHTT, -1)) @ value


class Transformer(nn.Module):
    """Causal self-attention over a history.

    Raises:
        ConfigError: the width is not a multiple of the number of heads.
    """

    def __init__(self, config: TransformerConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TransformerConfig()
        if config.width % config.heads:
            raise ConfigError(
                f"transformer: width {config.width} is not a multiple of heads {config.heads}"
            )
        shape: dict[str, Any] = {
            "width": config.width,
            "heads": config.heads,
            "length": config.length,
        }
        self.position = (
            None if config.position is None else build(config.position, where="position", **shape)
        )
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x_BTD: Tensor, gap_BT: Tensor) -> Tensor:
        """The global view after each event, [B, T, D].

        Args:
            x_BTD: float [B, T, D].
            gap_BT: float [B, T], seconds since the event before.
        """
        bias = None
        if self.position is not None:
            x_BTD, bias = self.position(x_BTD, gap_BT)
        for block in self.blocks:
            x_BTD = block(x_BTD, bias)
        return self.norm(x_BTD)
