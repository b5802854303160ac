"""The contract of a position encoding.

Shape: B users, T events, D width, H heads.
"""

from __future__ import annotations

from typing import Protocol

from pydantic import Field
from torch import Tensor

from muma.config import Config


class PositionConfig(Config):
    """Parameters of every position encoding.

    Attributes:
        width: D. heads: H. length: longest history, T at most.
    """

    width: int = Field(default=64, ge=1)
    heads: int = Field(default=2, ge=1)
    length: int = Field(default=200, ge=1)


class Position(Protocol):
    """Changes the inputs of attention, or adds to its logits."""

    def __call__(self, x_BTD: Tensor, gap_BT: Tensor) -> tuple[Tensor, Tensor | None]:
        """The inputs [B, T, D], and a bias [B or 1, H, T, T] that is -inf for the future, or None."""
        ...
