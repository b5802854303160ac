"""The item table: one learned row an item, which can grow and let rows go without a retrain.

Row 0 is padding and stays zero, row 1 stands for every unknown item. A row belongs to one item until
it is evicted. Room is made geometrically, so that growing by n rows costs O(n) on average and the
optimiser's moments are copied rarely.

Shape: N rows asked for, D width, C capacity (rows of the weight), S rows in use, free ones included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from muma.errors import ConfigError, DataError
from muma.interest.batch import FIRST_ROW, PADDING_ROW
from muma.rng import derive

GROWTH = 1.5
SCALE = 0.02
SPARE, USED, FREE = range(3)  # capacity beyond `size`; a row in use; the row of an evicted item


class ItemTable(nn.Module):
    """A growable embedding table.

    Args:
        width: D.
        items: known items at the start; they take rows 2, 3, ...
        seed: of the random rows; a row's first value depends on the seed and its number only.

    Example:
        >>> table = ItemTable(4, items=3)
        >>> table.size, table.grow(2).tolist(), table.size
        (5, [5, 6], 7)
    """

    weight: nn.Parameter
    use_C: Tensor

    def __init__(self, width: int, *, items: int = 0, seed: int = 1) -> None:
        super().__init__()
        if width < 1 or items < 0:
            raise ConfigError(f"item table: width {width} and items {items} must be positive")
        self.seed = seed
        self.size = FIRST_ROW + items
        weight_CD = _random(seed, 0, self.size, width)
        weight_CD[PADDING_ROW] = 0.0
        self.weight = nn.Parameter(weight_CD)
        self.register_buffer("use_C", torch.full((self.size,), USED, dtype=torch.uint8))

    @property
    def width(self) -> int:
        """D."""
        return self.weight.shape[1]

    @property
    def capacity(self) -> int:
        """Rows of `weight`; those from `size` on are zeros without an item."""
        return self.weight.shape[0]

    def forward(self, row_BL: Tensor) -> Tensor:
        """Rows of the events, float32 [B, L, D]; padding is zeros.

        Raises:
            DataError: a row is not in use.
        """
        if row_BL.numel() and (row_BL.min() < 0 or row_BL.max() >= self.size):
            raise DataError(
                f"row_BL holds rows from {int(row_BL.min())} to {int(row_BL.max())}; the table has "
                f"rows 0..{self.size - 1} (0 padding, 1 unknown); grow it first"
            )
        return functional.embedding(row_BL, self.weight, padding_idx=PADDING_ROW)

    def free(self) -> np.ndarray:
        """Rows whose item was evicted, int64, in order."""
        return torch.nonzero(self.use_C == FREE).flatten().cpu().numpy()

    def live(self) -> Tensor:
        """Rows in use as one view, [S, D]; rows 0, 1 and the `free()` ones hold no item."""
        return self.weight[: self.size]

    @torch.no_grad()
    def grow(self, n: int, init_ND: np.ndarray | None = None) -> np.ndarray:
        """Give rows to `n` new items; freed rows first, then new ones.

        The parameter is replaced when the capacity is exceeded: see `carry_moments`.

        Args:
            n: number of items.
            init_ND: first values, for example made from the items' content; random without.

        Returns:
            int64 [n], the rows, in the order of the items.

        Raises:
            DataError: `init_ND` has another shape or a value that is not finite.
        """
        if n < 0:
            raise DataError(f"the table cannot grow by {n} rows")
        if init_ND is not None and (
            np.shape(init_ND) != (n, self.width) or not np.isfinite(init_ND).all()
        ):
            raise DataError(
                f"init_ND has shape {np.shape(init_ND)}; give finite values [{n}, {self.width}]"
            )
        reused = self.free()[:n]
        fresh = n - len(reused)
        row_N = np.concatenate([reused, np.arange(self.size, self.size + fresh)])
        self._reserve(self.size + fresh)
        self.size += fresh
        self.use_C[torch.from_numpy(row_N)] = USED
        if init_ND is None:
            for row in row_N:
                self.weight[row] = _random(self.seed, int(row), 1, self.width)[0]
        else:
            self.weight[torch.from_numpy(row_N)] = torch.as_tensor(init_ND, dtype=self.weight.dtype)
        return row_N

    @torch.no_grad()
    def evict(self, rows: np.ndarray) -> None:
        """Let go of the items of `rows` (int64 [N]); the other rows keep their places.

        Raises:
            DataError: a row is reserved, not in use, already free, or named twice.
        """
        gone_N = np.asarray(rows, dtype=np.int64)
        if gone_N.size and not FIRST_ROW <= gone_N.min() <= gone_N.max() < self.size:
            raise DataError(f"evict: rows must lie in {FIRST_ROW}..{self.size - 1}")
        if len(np.unique(gone_N)) < len(gone_N) or np.isin(gone_N, self.free()).any():
            raise DataError("evict: a row is named twice, or its item was evicted before")
        index_N = torch.from_numpy(gone_N)
        self.weight[index_N] = 0.0
        self.use_C[index_N] = FREE

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        stored = state_dict.get(f"{prefix}weight")
        if stored is not None and stored.shape[0] != self.capacity:
            self.weight = nn.Parameter(self.weight.new_zeros(stored.shape))
            self.use_C = self.use_C.new_zeros(len(stored))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self.size = int((self.use_C != SPARE).sum())

    def _reserve(self, rows: int) -> None:
        if rows <= (before := self.capacity):
            return
        capacity = max(rows, int(before * GROWTH))
        larger_CD = self.weight.new_zeros((capacity, self.width))
        larger_CD[:before] = self.weight
        self.weight = nn.Parameter(larger_CD)
        self.use_C = functional.pad(self.use_C, (0, capacity - before), value=SPARE)


def carry_moments(optimizer: torch.optim.Optimizer, old: nn.Parameter, new: nn.Parameter) -> None:
    """Let `optimizer` go on with `new` in the place of `old`; new rows start with zero moments.

    Args:
        optimizer: any whose state has the shape of its parameter (Adam, AdamW, Adagrad, momentum).
        old: the parameter before `ItemTable.grow`.
        new: the one after it; when they are the same, nothing is done.

    Raises:
        DataError: the optimiser does not hold `old`.
    """
    if old is new:
        return
    for group in optimizer.param_groups:
        for place, held in enumerate(group["params"]):
            if held is old:
                group["params"][place] = new
                optimizer.state[new] = {
                    name: _padded(value, old, new)
                    for name, value in optimizer.state.pop(old, {}).items()
                }
                return
    raise DataError("the optimiser does not hold the table's old weight; nothing was carried over")


def _padded(value: object, old: nn.Parameter, new: nn.Parameter) -> object:
    """A moment of `old` with zeros for the rows that `new` has more; scalars as they are."""
    if not isinstance(value, Tensor) or value.shape != old.shape:
        return value
    larger = value.new_zeros(new.shape)
    larger[: len(value)] = value
    return larger


def _random(seed: int, first: int, rows: int, width: int) -> Tensor:
    """Normal rows for a new table (`first` = 0) or one grown row."""
    rng = derive(seed, "item table", first)
    return torch.from_numpy(rng.normal(0.0, SCALE, (rows, width)).astype(np.float32))
