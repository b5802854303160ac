"""Cross-entropy over a sample of the catalogue, corrected for how it was drawn.

    z'_ni = scale * h_n . w_i - log(M q_i);   loss = mean over n of  log(e^{z_n,target} + sum_m e^{z'_nm}) - z_n,target

The M negatives are shared by the batch and drawn with replacement from q, a mixture of the uniform
and the popularity distribution. The corrected sum estimates the full one without bias, so that the
loss goes to full cross-entropy as M grows (Bengio and Senecal, 2008). A negative that is the
position's own target is left out and the estimate is of the others' sum.

Shape: N positions, M negatives, S rows of the table in use, D width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from muma.config import Config
from muma.interest.objectives.objective import Targets, dead_rows
from muma.interest.table import ItemTable


class SampledSoftmaxConfig(Config):
    """Parameters of `SampledSoftmax`.

    Attributes:
        negatives: M, drawn for each batch.
        popular: share of the popularity distribution in q; the rest is uniform, so that no item has
            chance 0.
        scale: factor of every inner product.
    """

    negatives: int = Field(default=1024, ge=1)
    popular: float = Field(default=0.5, ge=0, lt=1)
    scale: float = Field(default=1.0, gt=0)


class SampledSoftmax(nn.Module):
    """Next-item cross-entropy over shared negatives with the log-q correction.

    Example:
        >>> table = ItemTable(4, items=6)
        >>> none = torch.zeros(1, dtype=torch.int64)
        >>> targets = Targets(none + 2, none, none * torch.nan, torch.ones(8))
        >>> objective = SampledSoftmax(SampledSoftmaxConfig(popular=0.0))
        >>> bool(1 < objective(torch.zeros(1, 4), table, targets)["loss"].exp() < 9)
        True
    """

    def __init__(self, config: SampledSoftmaxConfig = SampledSoftmaxConfig()) -> None:
        super().__init__()
        self.config = config

    def forward(self, h_ND: Tensor, table: ItemTable, targets: Targets) -> Mapping[str, Tensor]:
        """Mean loss over the positions; see `Objective`."""
        config = self.config
        chance_S = self.chance(table, targets.count_S)
        row_M = torch.multinomial(chance_S, config.negatives, replacement=True)
        weight = table.weight
        own_N = config.scale * (h_ND * weight[targets.row_N]).sum(1)
        z_NM = config.scale * (h_ND @ weight[row_M].T) - (config.negatives * chance_S[row_M]).log()
        z_NM = z_NM.masked_fill(targets.row_N[:, None] == row_M, -torch.inf)
        loss_N = torch.cat([own_N[:, None], z_NM], dim=1).logsumexp(1) - own_N
        return {"loss": loss_N.mean() if len(loss_N) else loss_N.sum()}

    def chance(self, table: ItemTable, count_S: Tensor) -> Tensor:
        """q, float32 [S]; 0 for rows that are no items."""
        count = torch.zeros(table.size, device=count_S.device)
        count[: len(count_S)] = count_S
        live = (~dead_rows(table)).to(count.dtype)
        count = count * live
        popular = self.config.popular if count.sum() > 0 else 0.0
        uniform = (1 - popular) * live / live.sum().clamp(min=1)
        return uniform + popular * count / count.sum().clamp(min=1)
