"""Cross-entropy over the whole catalogue, in memory that does not grow with positions x items.

    loss = mean over n of  (1 - e) (lse_n - z_n,target) + e mean over i of (lse_n - z_ni),
    z = scale * h W^T,  lse_n = log sum_i exp z_ni,  e = label smoothing

Logits exist for one chunk of positions at a time. Their gradient is p - y, known as soon as they
are, so that each chunk adds its part of the gradients of h and W right away and is forgotten: the
backward pass only scales them, and no logit is computed twice. The division by sum_i exp z_ni goes
to the narrow side of each product, so that a chunk is passed over four times in all.

Shape: N positions, c positions of a chunk, S rows of the table in use, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from muma.config import Config
from muma.interest.objectives.objective import Targets, dead_rows
from muma.interest.table import ItemTable


class FullSoftmaxConfig(Config):
    """Parameters of `FullSoftmax`.

    Attributes:
        smoothing: e, the share of the label that is spread over all items.
        scale: factor of every inner product.
        cells: logits held at once; any value gives the same loss up to rounding.
    """

    smoothing: float = Field(default=0.0, ge=0, lt=1)
    scale: float = Field(default=1.0, gt=0)
    cells: int = Field(default=1 << 18, ge=1)


class FullSoftmax(nn.Module):
    """Next-item cross-entropy over every item.

    Example:
        >>> table = ItemTable(4, items=6)
        >>> none = torch.zeros(1, dtype=torch.int64)
        >>> targets = Targets(none + 2, none, none * torch.nan, torch.ones(8))
        >>> loss = FullSoftmax()(torch.zeros(1, 4), table, targets)["loss"]
        >>> round(loss.exp().item(), 4)  # six items, all alike
        6.0
    """

    def __init__(self, config: FullSoftmaxConfig = FullSoftmaxConfig()) -> None:
        super().__init__()
        self.config = config

    def forward(self, h_ND: Tensor, table: ItemTable, targets: Targets) -> Mapping[str, Tensor]:
        """Mean loss over the positions; see `Objective`."""
        config = self.config
        loss = chunked_cross_entropy(
            h_ND,
            table.live(),
            targets.row_N,
            dead_rows(table),
            smoothing=config.smoothing,
            scale=config.scale,
            cells=config.cells,
        )
        return {"loss": loss}


def chunked_cross_entropy(
    h_ND: Tensor,
    weight_SD: Tensor,
    row_N: Tensor,
    dead_S: Tensor,
    *,
    smoothing: float = 0.0,
    scale: float = 1.0,
    cells: int = 1 << 18,
) -> Tensor:
    """Mean cross-entropy; see the module's equation.

    Args:
        h_ND: user vectors.
        weight_SD: item rows.
        row_N: int64, the row of each target.
        dead_S: bool, rows that are no items: they have no chance and are no part of the mean.
        smoothing: e.
        scale: factor of every inner product.
        cells: logits held at once.
    """
    return _ChunkedCrossEntropy.apply(h_ND, weight_SD, row_N, dead_S, smoothing, scale, cells)  # pyright: ignore[reportReturnType]


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        h_ND: Tensor,
        weight_SD: Tensor,
        row_N: Tensor,
        dead_S: Tensor,
        smoothing: float,
        scale: float,
        cells: int,
    ) -> Tensor:
        wants = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        n, rows, kind = len(h_ND), len(weight_SD), h_ND.dtype
        step = max(1, cells // max(1, rows))
        low_SD, dead_d = weight_SD.to(kind), torch.nonzero(dead_S)[:, 0]
        exact = torch.promote_types(kind, torch.float32)
        total = torch.zeros((), dtype=exact, device=h_ND.device)
        # smoothing pulls every user vector to the mean item, and every item to the mean user
        mean_D = low_SD[~dead_S].sum(0).to(exact) * (smoothing / max(1, rows - len(dead_d)))
        grad_h_ND = torch.zeros_like(h_ND) if wants else None
        grad_w_SD = torch.zeros_like(weight_SD, dtype=exact) if wants else None
        for start in range(0, n, step):
            h_cD = h_ND[start : start + step] * scale
            own_cD = low_SD[row_N[start : start + step]]
            z_cS = (h_cD @ low_SD.T).to(exact).index_fill_(1, dead_d, -torch.inf)
            top_c1 = z_cS.amax(1, keepdim=True)
            e_cS = z_cS.sub_(top_c1).exp_()  # the logits are not needed again
            sum_c1 = e_cS.sum(1, keepdim=True)
            pull_cD = (1 - smoothing) * own_cD + mean_D
            total += (top_c1 + sum_c1.log()).sum() - (h_cD.to(exact) * pull_cD).sum()
            if grad_h_ND is not None and grad_w_SD is not None:
                e_cS = e_cS.to(kind)
                grad_h_ND[start : start + step] = (e_cS @ low_SD) / sum_c1 - pull_cD
                grad_w_SD += e_cS.T @ (h_cD / sum_c1).to(kind)
        if grad_h_ND is not None and grad_w_SD is not None:
            pulled_ND = (h_ND * scale).to(exact)
            grad_w_SD.index_add_(0, row_N, pulled_ND, alpha=smoothing - 1.0)
            live_S1 = (~dead_S)[:, None].to(exact)
            grad_w_SD -= live_S1 * pulled_ND.sum(0) * (smoothing / max(1, rows - len(dead_d)))
            grad_h_ND *= scale / max(1, n)
            grad_w_SD /= max(1, n)
        ctx.save_for_backward(grad_h_ND, grad_w_SD)
        ctx.kind = weight_SD.dtype
        return total / max(1, n)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_h_ND, grad_w_SD = ctx.saved_tensors
        (scale,) = grad
        return (grad_h_ND * scale, (grad_w_SD * scale).to(ctx.kind), None, None, None, None, None)
