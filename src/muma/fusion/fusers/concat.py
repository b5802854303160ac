"""Concatenation and a fully connected layer.

    F = W [f_1; ...; f_m] + b                                                     (3)

A missing source enters as a learned vector of its own, not as zeros, which would read as a value.
The equation has no weights; what is reported is each present source's part in the sum,
||W_i f_i|| / sum_j ||W_j f_j|| (equal parts when all are zero).

Shape: B rows, S sources, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from muma.fusion.fuser import Fuser, FuserConfig
from muma.fusion.layers import linear, table


class ConcatConfig(FuserConfig):
    """Parameters of `ConcatFuser`.

    Attributes:
        hidden: width of one more layer with a GELU between; None is the equation as printed.
    """

    hidden: int | None = None


class ConcatFuser(Fuser):
    """Equation (3).

    Example:
        >>> fuser = ConcatFuser(ConcatConfig(sources=2, width=4))
        >>> fuser(torch.ones(1, 2, 4), torch.tensor([[True, False]])).weight_NS.tolist()
        [[1.0, 0.0]]
    """

    def __init__(self, config: ConcatConfig) -> None:
        super().__init__(config)
        self.missing_SD = table(config.sources, config.width, self.rng)
        inner = config.hidden or config.width
        self.joint = linear(config.sources * config.width, inner, self.rng)
        self.head = linear(inner, config.width, self.rng) if config.hidden else None

    def _fuse(
        self, z_BSD: Tensor, present_BS: Tensor, context_BC: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        del context_BC
        filled_BSD = torch.where(present_BS[..., None], z_BSD, self.missing_SD)
        weight_HSD = self.joint.weight.view(-1, *self.missing_SD.shape)
        part_BSH = torch.einsum("bsd,hsd->bsh", filled_BSD, weight_HSD)
        vector_BH = part_BSH.sum(dim=1) + self.joint.bias
        if self.head is not None:
            vector_BH = self.head(nn.functional.gelu(vector_BH))
        size_BS = torch.where(present_BS, part_BSH.detach().norm(dim=-1), 0.0)
        total_B1 = size_BS.sum(dim=1, keepdim=True)
        even_BS = present_BS / present_BS.sum(dim=1, keepdim=True).clamp(min=1)
        share_BS = size_BS / torch.where(total_B1 > 0, total_B1, 1.0)
        return vector_BH, torch.where(total_B1 > 0, share_BS, even_BS.to(share_BS.dtype))
