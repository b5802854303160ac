"""Dropout whose random numbers cost little: eight components from one 64-bit draw.

    y = x keep / (1 - p),   keep = [byte >= 256 p]

torch draws a number a component, which takes a third of a training step on the CPU; a byte each is
enough to drop a share that is a multiple of 1/256. The mean of y is x exactly, whatever the rounding
of p. Random numbers come from torch's generator of the CPU, as for `nn.Dropout`; on other devices
torch's own kernel runs.

Shape: any.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

LEVELS = 256


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    """The gradient, through what was kept."""
    return grad * ctx.saved_tensors[0], None


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dropped: int) -> Tensor:
        draws = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        kept = draws.view(torch.uint8)[: x.numel()].view(x.shape) >= dropped
        scaled = kept.to(x.dtype).mul_(LEVELS / (LEVELS - dropped))
        ctx.save_for_backward(scaled)
        return x * scaled

    backward: Any = staticmethod(once_differentiable(_backward))


class Dropout(nn.Module):
    """As `nn.Dropout`.

    Args:
        share: p, in [0, 1); rounded to a multiple of 1/256.

    Example:
        >>> Dropout(0.5).eval()(torch.ones(2)).tolist()
        [1.0, 1.0]
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self._dropped = min(round(share * LEVELS), LEVELS - 1)

    @property
    def active(self) -> bool:
        """Whether anything is dropped now."""
        return self.training and self._dropped > 0

    def forward(self, x: Tensor) -> Tensor:
        """`x` with some components dropped and the others scaled up; `x` itself in evaluation."""
        if not self.active:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, self._dropped / LEVELS)
        return _Drop.apply(x, self._dropped)  # pyright: ignore[reportReturnType]
