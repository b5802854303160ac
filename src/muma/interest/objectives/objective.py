"""The contract of this folder: from user vectors and the item table to a loss.

Shape: N positions with a target, D width, S rows of the item table in use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from muma.interest.batch import FIRST_ROW
from muma.interest.table import USED, ItemTable


@dataclass(frozen=True)
class Targets:
    """What the user did next, at each position that has a target.

    Attributes:
        row_N: int64, row of the item that was taken.
        skipped_N: int64, row of an item that was shown and not taken; 0 when there is none.
        completion_N: float32 in [0, 1], how far it was watched; NaN when that is unknown.
        count_S: float32, events of each row's item in the training log; S may be less than the
            table's rows, the rest have no event.
    """

    row_N: Tensor
    skipped_N: Tensor
    completion_N: Tensor
    count_S: Tensor


class Objective(Protocol):
    """A module that is trained with the network; its constructor takes its config."""

    def __call__(self, h_ND: Tensor, table: ItemTable, targets: Targets) -> Mapping[str, Tensor]:
        """Losses of a batch by name.

        Args:
            h_ND: user vectors at the positions with a target.
            table: the item table; rows 0 and 1 and freed ones are no items.
            targets: what happened.

        Returns:
            Scalars. `loss` is what is minimised; the others are its parts, for the learning curve.
        """
        ...


def dead_rows(table: ItemTable) -> Tensor:
    """Which rows are no items, bool [S]: padding, the unknown item, and evicted ones.

    Example:
        >>> dead_rows(ItemTable(4, items=2)).tolist()
        [True, True, False, False]
    """
    dead_S = table.use_C[: table.size] != USED
    dead_S[:FIRST_ROW] = True
    return dead_S
