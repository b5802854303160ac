"""Layers whose first values come from a generator that is handed in, never from a global one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from muma.rng import derive


def generator(seed: int, *names: str | int) -> torch.Generator:
    """The generator that belongs to (`seed`, `names`); see `muma.rng.derive`.

    Example:
        >>> bool(torch.rand(1, generator=generator(1)) == torch.rand(1, generator=generator(1)))
        True
    """
    made = torch.Generator()
    made.manual_seed(int(derive(seed, "torch", *names).integers(2**62)))
    return made


def linear(inputs: int, outputs: int, rng: torch.Generator) -> nn.Linear:
    """A fully connected layer with Xavier weights and no bias at first.

    Example:
        >>> linear(3, 2, generator(1)).weight.shape
        torch.Size([2, 3])
    """
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    nn.init.xavier_uniform_(layer.weight, generator=rng)
    nn.init.zeros_(layer.bias)
    return layer


def mlp(widths: Sequence[int], rng: torch.Generator) -> nn.Sequential:
    """Fully connected layers from `widths[0]` to `widths[-1]`, a GELU between each two.

    Example:
        >>> mlp([4, 8, 2], generator(1))(torch.zeros(5, 4)).shape
        torch.Size([5, 2])
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [linear(inputs, outputs, rng), nn.GELU()]
    return nn.Sequential(*layers[:-1])


def table(rows: int, width: int, rng: torch.Generator, *, scale: float = 0.1) -> nn.Parameter:
    """Embedding rows [rows, width], normal with standard deviation `scale`.

    Example:
        >>> table(3, 2, generator(1)).shape
        torch.Size([3, 2])
    """
    return nn.Parameter(scale * torch.randn(rows, width, generator=rng))


def weighted_rows(
    length_N: Tensor, column_E: Tensor, weight_E: Tensor, vector_CD: Tensor
) -> Tensor:
    """Row n is the sum of `weight * vector[column]` over its entries: one sparse product.

    Args:
        length_N: entries of each row, int64; they lie one row after another in `column_E`.
        column_E: row of `vector_CD`, int64.
        weight_E: weight of each entry.
        vector_CD: what is summed.

    Returns:
        [N, D]; zeros for a row without entries.

    Example:
        >>> weighted_rows(torch.tensor([2, 0]), torch.tensor([0, 1]), torch.tensor([1.0, 2.0]),
        ...               torch.eye(2)).tolist()
        [[1.0, 2.0], [0.0, 0.0]]
    """
    row_E = torch.repeat_interleave(torch.arange(len(length_N), device=length_N.device), length_N)
    matrix = torch.sparse_coo_tensor(
        torch.stack([row_E, column_E]),
        weight_E.to(vector_CD.dtype),
        (len(length_N), len(vector_CD)),
        check_invariants=False,
    )
    return torch.sparse.mm(matrix, vector_CD)
