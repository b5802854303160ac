"""The contract of a fusion of the two branches (eq. 8).

Shape: B users, T events, D width.
"""

from __future__ import annotations

from typing import Protocol

import torch
from pydantic import Field
from torch import Tensor

from muma.config import Config


class GateConfig(Config):
    """Parameters of every fusion.

    Attributes:
        width: D, of both branches and of the result.
    """

    width: int = Field(default=64, ge=1)


class Gate(Protocol):
    """Joins the output of the recurrent branch with the Transformer's, position by position."""

    def __call__(self, short_BTD: Tensor, global_BTD: Tensor, wait_BT: Tensor | None) -> Tensor:
        """The user vector after each event, [B, T, D].

        Args:
            short_BTD: outputs of the recurrent branch.
            global_BTD: outputs of the Transformer.
            wait_BT: seconds from the event to the moment its vector is used, where it is known.
        """
        ...


def between(global_BTD: Tensor, short_BTD: Tensor, share_BTD: Tensor) -> Tensor:
    """`share` of the short-term view and the rest of the global one, [B, T, D].

    Under mixed precision the views may come in different types; the wider one counts.
    """
    dtype = torch.promote_types(global_BTD.dtype, short_BTD.dtype)
    return torch.lerp(global_BTD.to(dtype), short_BTD.to(dtype), share_BTD.to(dtype))
