"""First weights, drawn by name from one seed, so that adding a part leaves the others as they were."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from muma.rng import derive

EMBEDDING_SCALE = 0.02


@torch.no_grad()
def draw(module: nn.Module, seed: int, *, skip: Sequence[str] = ()) -> None:
    """Fill the weights of linear, embedding and recurrent layers inside `module`.

    Linear layers are Glorot-uniform with zero bias, embeddings normal with `EMBEDDING_SCALE`,
    recurrences uniform within 1 / sqrt(D) as torch has them. Other parameters keep their values.

    Args:
        module: the network.
        seed: of the run.
        skip: beginnings of names that are left alone.
    """
    for path, part in module.named_modules():
        for name, weight in part.named_parameters(path, recurse=False):
            if name.startswith(tuple(skip)) or not isinstance(
                part, nn.Linear | nn.Embedding | nn.RNNBase
            ):
                continue
            rng = derive(seed, "network", name)
            if isinstance(part, nn.Embedding):
                value = rng.normal(0.0, EMBEDDING_SCALE, weight.shape)
            elif isinstance(part, nn.RNNBase):
                bound = part.hidden_size**-0.5
                value = rng.uniform(-bound, bound, weight.shape)
            elif weight.dim() == 1:
                value = np.zeros(weight.shape)
            else:
                bound = (6.0 / sum(weight.shape)) ** 0.5
                value = rng.uniform(-bound, bound, weight.shape)
            weight.copy_(torch.from_numpy(value))
