"""A learned bias on attention for how many events and how much time lie between two events.

    logit_ij += p_h[i - j] + w_h[bucket(t_i - t_j)],   bucket(s) = floor(log2(1 + s))

Zhai et al., "Actions speak louder than words" (HSTU), ICML 2024, and Li et al., "Time interval aware
self-attention" (TiSASRec), WSDM 2020. Both parts can be left out.

Shape: B users, T events, D width, H heads, K buckets.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from muma.errors import ConfigError
from muma.interest.transformer_positions.position import PositionConfig


class RelativeTimeConfig(PositionConfig):
    """Parameters of `RelativeTime`.

    Attributes:
        distances: events apart that are told from each other; farther ones count as this far. None
            takes `length`; 0 leaves places out.
        buckets: K, doublings of a second that are told from each other (32 reach a century); 0
            leaves time out.
    """

    distances: int | None = Field(default=None, ge=0)
    buckets: int = Field(default=32, ge=0)


class RelativeTime(nn.Module):
    """Adds to the logits of attention.

    Raises:
        ConfigError: places and time are both left out.
    """

    def __init__(self, config: RelativeTimeConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or RelativeTimeConfig()
        self.distances = config.length if config.distances is None else config.distances
        if not self.distances and not config.buckets:
            raise ConfigError("relative position: distances and buckets are both 0; keep one")
        heads = config.heads
        self.place = nn.Parameter(torch.zeros(heads, self.distances)) if self.distances else None
        self.time = nn.Parameter(torch.zeros(heads, config.buckets)) if config.buckets else None

    def forward(self, x_BTD: Tensor, gap_BT: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `Position`; the bias is [B or 1, H, T, T]."""
        steps = x_BTD.shape[1]
        place_T = torch.arange(steps, device=x_BTD.device)
        apart_TT = place_T[:, None] - place_T
        bias = x_BTD.new_zeros(1)
        if self.place is not None:
            bias = bias + self.place[:, apart_TT.clamp(0, self.distances - 1)][None]
        if self.time is not None:
            bias = bias + self.time[:, self._bucket(gap_BT)].transpose(0, 1)
        return x_BTD, bias.masked_fill(apart_TT < 0, -torch.inf)

    def _bucket(self, gap_BT: Tensor) -> Tensor:
        """int64 [B, T, T], the bucket of the time between two events; the future counts as now."""
        # sums of seconds over ten years need more than float32's 24 bits
        time_BT = gap_BT.double().cumsum(1)
        apart_BTT = (time_BT[:, :, None] - time_BT[:, None, :]).clamp(min=0.0).float()
        return torch.log2(1.0 + apart_BTT).long().clamp(max=self.config.buckets - 1)
