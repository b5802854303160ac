"""One padded batch of events as tensors, the input of every part of the network.

Callers pad on the left, as `features.feature.Sequences` do. Inside the network rows start at
position 0 instead (`flush_left`): a causal network then never meets padding before an event, so
that neither the recurrence nor the attention needs a mask.

Shape: B users, L events, D width of the fused source vector, I items, T longest history of a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from muma.errors import DataError
from muma.features.feature import Sequences
from muma.interest.batch_arrays import (
    FIRST_ROW,
    KINDS,
    PADDING_ROW,
    UNKNOWN_ROW,
    RowOf,
    arrays_of,
)

__all__ = ["FIRST_ROW", "KINDS", "PADDING_ROW", "UNKNOWN_ROW", "Events", "RowOf", "events_of"]


@dataclass(frozen=True)
class Events:
    """Events of B users, oldest first, padded on the left.

    Attributes:
        row_BL: int64 rows of the item table: 0 padding, 1 unknown item, 2 + index of a known item.
        gap_BL: float32 seconds since the same user's previous event; 0 for the first and padding.
        kind_BL: int64, 0 for none and padding, else 1 + code into `events.stream.ACTIONS`.
        dwell_BL: float32 log1p(seconds), -1 when there is none.
        mask_BL: bool, true for an event.
        source_BLD: float32 fused source vector of each event; None without fusion.
        wait_BL: float32 seconds from each event to the moment its vector is used: the next event's,
            and for the newest the request's. Only the time-conditioned gate reads it.
    """

    row_BL: Tensor
    gap_BL: Tensor
    kind_BL: Tensor
    dwell_BL: Tensor
    mask_BL: Tensor
    source_BLD: Tensor | None = None
    wait_BL: Tensor | None = None

    def __len__(self) -> int:
        return self.row_BL.shape[0]

    def to(self, device: torch.device | str) -> Events:
        """Copy to a device."""
        return self.map(lambda value: value.to(device))

    def map(self, change: Callable[[Tensor], Tensor]) -> Events:
        """Apply `change` to every tensor; absent ones stay absent."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        return Events(**{name: change(value) for name, value in given.items()})

    def newest(self, length: int) -> Events:
        """The last `length` positions; the gap before the first of them is forgotten."""
        if self.row_BL.shape[1] <= length:
            return self
        cut = self.map(lambda value: value[:, -length:])
        gap_BL = cut.gap_BL.clone()
        gap_BL[:, 0] = 0.0
        return replace(cut, gap_BL=gap_BL)


def events_of(sequences: Sequences, rows: RowOf, *, at_B: np.ndarray | None = None) -> Events:
    """Turn the arrays of the feature engine into tensors.

    Args:
        sequences: histories, oldest event first, padded on the left.
        rows: int64 [I], the table's row of each item; or a function from items to rows. Items it
            does not cover, and events without an item, take the row of unknown items.
        at_B: int64 microseconds, when the vectors will be used; fills `wait_BL`.

    Raises:
        DataError: the arrays have different shapes, or times run backwards.

    Example:
        >>> one = np.array([[-1, 7]])
        >>> seq = Sequences(one, one * 0, one * 0, one * 0, one * 0 - 1, one >= 0)
        >>> events_of(seq, np.arange(8) + FIRST_ROW).row_BL.tolist()
        [[0, 9]]
    """
    arrays = arrays_of(sequences, rows, at_B=at_B)
    given = {name: value for name, value in vars(arrays).items() if value is not None}
    return Events(**{name: torch.from_numpy(value) for name, value in given.items()})


def check(events: Events) -> None:
    """Refuse what would poison a state or a weight.

    Raises:
        DataError: a number is not finite or a gap is negative, shapes differ, a kind is unknown, or
            an event stands before padding.
    """
    for field in fields(events):
        value = getattr(events, field.name)
        if value is None:
            continue
        if value.shape[:2] != events.mask_BL.shape:
            raise DataError(
                f"events: {field.name} has shape {tuple(value.shape)}; its first two must be "
                f"those of mask_BL, {tuple(events.mask_BL.shape)}"
            )
        # a sum is finite only if every term is; it needs no second array
        if value.is_floating_point() and not torch.isfinite(value.sum(dtype=torch.float64)):
            raise DataError(
                f"events: {field.name} holds a value that is not finite; mask the event or the "
                "source it came from"
            )
    if events.mask_BL.shape[1] == 0:
        raise DataError("events: there is no position; pad empty histories to at least one")
    if not len(events):
        return
    if events.gap_BL.min() < 0:
        raise DataError("events: gap_BL is negative; order the events of each user by time")
    if events.kind_BL.min() < 0 or events.kind_BL.max() >= KINDS:
        raise DataError(
            f"events: kind_BL must lie in 0..{KINDS - 1} (0 none, 1 + code of an action)"
        )
    if (events.mask_BL[:, :-1] & ~events.mask_BL[:, 1:]).any():
        raise DataError("events: an event stands before padding; pad on the left")


class Front:
    """Moves left-padded arrays to the front and cuts them to the longest, T >= 1.

    Args:
        count_B: int64 [B], events of each user.
        length: L, positions of the arrays to be moved.
    """

    def __init__(self, count_B: Tensor, length: int) -> None:
        longest = max(int(count_B.max()), 1) if len(count_B) else 1
        self.shift_B = length - count_B
        self.still = longest == length and not bool(self.shift_B.any())
        position_T = torch.arange(longest, device=count_B.device)
        self._from_BT = (position_T + self.shift_B[:, None]).clamp(max=length - 1)
        self._real_BT = position_T < count_B[:, None]

    def __call__(self, value: Tensor) -> Tensor:
        """[B, L] or [B, L, D] -> [B, T] or [B, T, D]; zeros behind the last event."""
        if self.still:
            return value
        if value.dim() == 2:
            return value.gather(1, self._from_BT) * self._real_BT
        index_BTD = self._from_BT[..., None].expand(-1, -1, value.shape[2])
        return value.gather(1, index_BTD) * self._real_BT[..., None]


def flush_left(events: Events) -> Events:
    """Move every history to the front and cut the batch to its longest, [B, T] with T >= 1."""
    return events.map(Front(events.mask_BL.sum(1), events.mask_BL.shape[1]))


def flush_right(vector_BTD: Tensor, shift_B: Tensor, length: int) -> Tensor:
    """Undo `flush_left` on the network's output, [B, T, ...] -> [B, length, ...]; padding is zeros."""
    if vector_BTD.shape[1] == length and not shift_B.any():
        return vector_BTD
    position_L = torch.arange(length, device=shift_B.device)
    from_BL = position_L - shift_B[:, None]
    real_BL = from_BL >= 0
    flat = vector_BTD.flatten(2)
    index_BLD = from_BL.clamp(0, vector_BTD.shape[1] - 1)[..., None].expand(-1, -1, flat.shape[2])
    moved = flat.gather(1, index_BLD) * real_BL[..., None]
    return moved.unflatten(2, vector_BTD.shape[2:]) if vector_BTD.dim() > 3 else moved
