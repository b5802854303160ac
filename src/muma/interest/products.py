"""Matrix products on the CPU by oneDNN, which `nn.LSTM` uses, too.

Torch's own product of float32 matrices calls a library that leaves the wide instructions of some
processors unused: half the speed there. Products that are large enough to gain go through oneDNN;
smaller ones, and every other type and device, through torch. None of them is differentiable.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

LEAST = 1 << 21  # multiplications; with fewer, the call costs what it saves
CHUNK = 512  # rows summed in one go: longer sums in single precision lose digits


def product(left_NK: Tensor, right_MK: Tensor, bias_M: Tensor | None = None) -> Tensor:
    """`left @ right.T`, and `bias` added to each row: [N, M].

    Example:
        >>> product(torch.ones(2, 3), torch.ones(4, 3)).shape
        torch.Size([2, 4])
    """
    if _suits(left_NK, right_MK, len(right_MK)):
        return _onednn(left_NK, right_MK, bias_M)
    if bias_M is None:
        return left_NK @ right_MK.T
    return torch.addmm(bias_M, left_NK, right_MK.T)


def adding(right_MK: Tensor, rows: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A function of (sum [rows, M], left [rows, K]) that does `sum += left @ right.T` in place.

    What suits is chosen once, for a loop of many small products.
    """
    if _suits(right_MK, right_MK, rows):
        return lambda sum_NM, left_NK: sum_NM.add_(_onednn(left_NK, right_MK, None))
    right_KM = right_MK.T.contiguous()
    return lambda sum_NM, left_NK: sum_NM.addmm_(left_NK, right_KM)


def inner_product(left_NM: Tensor, right_NK: Tensor) -> Tensor:
    """`left.T @ right`, the sum over many rows: [M, K]."""
    if not _suits(left_NM, right_NK, right_NK.shape[1]):
        return left_NM.T @ right_NK
    first, *rest = zip(left_NM.split(CHUNK), right_NK.split(CHUNK), strict=True)
    sum_KM = _onednn(first[1].T, first[0].T, None)
    for left, right in rest:
        sum_KM.add_(_onednn(right.T, left.T, None))
    return sum_KM.T


def _onednn(left_NK: Tensor, right_MK: Tensor, bias_M: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001 - no other name
        left_NK, right_MK, bias_M, "none", [], ""
    )


def _suits(left: Tensor, right: Tensor, width: int) -> bool:
    return (
        left.numel() * width >= LEAST
        and left.dtype == right.dtype == torch.float32
        and left.device.type == right.device.type == "cpu"
        and torch.backends.mkldnn.is_available()
    )
