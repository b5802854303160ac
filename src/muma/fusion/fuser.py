"""The contract of a fuser: the vectors of S sources become one, and it says what it weighed.

A missing source is masked: whatever its vector holds, NaN included, cannot change a bit of the answer.
In training, source dropout hides sources at random, so that none becomes indispensable.

Shape: B rows, S sources, D width, C context.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn

from muma.config import Config
from muma.errors import DataError
from muma.fusion.layers import generator, table


@dataclass(frozen=True)
class Fused:
    """One vector a row, and where it comes from.

    Attributes:
        vector_ND: the fused vectors.
        weight_NS: share of each source, at least 0; sums to 1 over the present ones. A missing
            source has 0, and so has every source of a row without any.
        present_NS: bool; the sources that were used (source dropout is taken away).
    """

    vector_ND: Tensor
    weight_NS: Tensor
    present_NS: Tensor


class FuserConfig(Config):
    """What every fuser's config holds.

    Attributes:
        sources: S.
        width: D, of the sources and of the answer.
        context: C, numbers about the moment that may condition the weights; 0 is none.
        source_dropout: chance in training that a present source is hidden; one always stays.
        seed: seed of the first parameters.
    """

    sources: int = Field(ge=1)
    width: int = Field(default=32, ge=1)
    context: int = Field(default=0, ge=0)
    source_dropout: float = Field(default=0.0, ge=0, lt=1)
    seed: int = 0


class Fuser(nn.Module, ABC):
    """Masks, drops and checks; a subclass gives `_fuse`."""

    def __init__(self, config: FuserConfig) -> None:
        super().__init__()
        self.config = config
        self.rng = generator(config.seed, "fuser")
        self.default_D = nn.Parameter(table(1, config.width, self.rng)[0].detach())

    def forward(
        self,
        z_BSD: Tensor,
        present_BS: Tensor,
        context_BC: Tensor | None = None,
        *,
        rng: torch.Generator | None = None,
    ) -> Fused:
        """Fuse.

        Args:
            z_BSD: vectors of the sources; those of missing ones are never read.
            present_BS: bool.
            context_BC: needed when the config says `context`, ignored by fusers without one.
            rng: draws the source dropout; torch's own generator, which the trainer seeds, if None.

        Returns:
            A `Fused`; a row without any source gets the learned default vector.

        Raises:
            DataError: a shape is not as configured.
        """
        self._check(z_BSD, present_BS, context_BC)
        if self.training and self.config.source_dropout:
            present_BS = drop_sources(present_BS, self.config.source_dropout, rng=rng)
        z_BSD = torch.where(present_BS[..., None], z_BSD, 0.0)
        vector_BD, weight_BS = self._fuse(z_BSD, present_BS, context_BC)
        some_B1 = present_BS.any(dim=1, keepdim=True)
        vector_BD = torch.where(some_B1, vector_BD, self.default_D)
        return Fused(vector_BD, torch.where(present_BS, weight_BS, 0.0), present_BS)

    def _check(self, z_BSD: Tensor, present_BS: Tensor, context_BC: Tensor | None) -> None:
        config = self.config
        wanted = (len(z_BSD), config.sources, config.width)
        if tuple(z_BSD.shape) != wanted or tuple(present_BS.shape) != wanted[:2]:
            raise DataError(
                f"source vectors have shape {tuple(z_BSD.shape)} and their mask "
                f"{tuple(present_BS.shape)}; {wanted} and {wanted[:2]} are needed"
            )
        given = None if context_BC is None else tuple(context_BC.shape)
        if config.context and given != (wanted[0], config.context):
            raise DataError(f"context is {given}; {(wanted[0], config.context)} is needed")

    @abstractmethod
    def _fuse(
        self, z_BSD: Tensor, present_BS: Tensor, context_BC: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Vectors [B, D] and weights [B, S]; missing sources come as zeros."""


def drop_sources(
    present_BS: Tensor, chance: float, *, rng: torch.Generator | None = None
) -> Tensor:
    """Hide each present source with `chance`; a row that had one keeps at least one.

    The one that must stay is drawn evenly among the present ones.

    Example:
        >>> drop_sources(torch.tensor([[True, False]]), 0.99).tolist()
        [[True, False]]
    """
    device = present_BS.device
    drawn_BS = torch.rand(present_BS.shape, generator=rng).to(device)
    rank_BS = torch.rand(present_BS.shape, generator=rng).to(device)
    stay_B = torch.where(present_BS, rank_BS, -1.0).argmax(dim=1)
    kept_BS = present_BS & (drawn_BS >= chance)
    none_B = ~kept_BS.any(dim=1)
    rescue_BS = nn.functional.one_hot(stay_B, present_BS.shape[1]).bool() & none_B[:, None]
    return kept_BS | (rescue_BS & present_BS)


def masked_softmax(score_BS: Tensor, present_BS: Tensor) -> Tensor:
    """Softmax over the present sources, 0 elsewhere; all 0 for a row without any.

        a_i = m_i exp(g_i) / sum_j m_j exp(g_j)                                   (5)

    Example:
        >>> masked_softmax(torch.zeros(1, 3), torch.tensor([[True, True, False]])).tolist()
        [[0.5, 0.5, 0.0]]
    """
    lowest = torch.finfo(score_BS.dtype).min
    weight_BS = torch.softmax(torch.where(present_BS, score_BS, lowest), dim=-1)
    return torch.where(present_BS, weight_BS, 0.0)
