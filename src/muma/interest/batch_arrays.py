"""The same batch as arrays, so that serving makes the network's input without torch.

Shape: B users, L events, I items.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from muma.errors import DataError
from muma.events.stream import ACTIONS
from muma.features.feature import Sequences

PADDING_ROW = 0
UNKNOWN_ROW = 1
FIRST_ROW = 2
"""Row of the item table that belongs to the first known item."""

KINDS = len(ACTIONS) + 1
"""Values of `kind_BL`: 0 for none, then the actions."""

RowOf = np.ndarray | Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class EventArrays:
    """`batch.Events` as arrays: the same names, shapes and units."""

    row_BL: np.ndarray
    gap_BL: np.ndarray
    kind_BL: np.ndarray
    dwell_BL: np.ndarray
    mask_BL: np.ndarray
    source_BLD: np.ndarray | None = None
    wait_BL: np.ndarray | None = None


def arrays_of(sequences: Sequences, rows: RowOf, *, at_B: np.ndarray | None = None) -> EventArrays:
    """See `batch.events_of`.

    Raises:
        DataError: the arrays have different shapes, or times run backwards.
    """
    mask_BL = np.array(sequences.mask_BL, dtype=bool)
    for field in fields(sequences):
        if (shape := getattr(sequences, field.name).shape) != mask_BL.shape:
            raise DataError(
                f"sequences: {field.name} has shape {shape}, mask_BL {mask_BL.shape}; make them equal"
            )
    time_BL = sequences.time_BL
    both_BL = mask_BL[:, 1:] & mask_BL[:, :-1]
    step_BL = np.where(both_BL, np.diff(time_BL, axis=1), 0)
    if (step_BL < 0).any():
        raise DataError("sequences: times run backwards; order the events of each user by time")
    gap_BL = np.zeros(mask_BL.shape, dtype=np.float32)
    gap_BL[:, 1:] = step_BL / 1e6
    wait_BL = None
    if at_B is not None:
        until_BL = np.concatenate([time_BL[:, 1:], np.asarray(at_B)[:, None]], axis=1)
        wait_BL = np.where(mask_BL, np.maximum(until_BL - time_BL, 0) / 1e6, 0.0)
        wait_BL = wait_BL.astype(np.float32)
    return EventArrays(
        row_BL=rows_of(np.where(mask_BL, sequences.item_BL, -1), rows) * mask_BL,
        gap_BL=gap_BL,
        kind_BL=np.where(mask_BL, sequences.kind_BL + 1, 0).astype(np.int64),
        dwell_BL=log_dwell(np.where(mask_BL, sequences.dwell_BL, -1)),
        mask_BL=mask_BL,
        wait_BL=wait_BL,
    )


def log_dwell(dwell_ms: np.ndarray) -> np.ndarray:
    """float32 log1p(seconds) of milliseconds; -1 where there is none (a negative value).

    Example:
        >>> log_dwell(np.array([-1, 0])).tolist()
        [-1.0, 0.0]
    """
    seconds = np.log1p(np.maximum(dwell_ms, 0) / 1e3)
    return np.where(dwell_ms >= 0, seconds, -1.0).astype(np.float32)


def rows_of(item: np.ndarray, rows: RowOf) -> np.ndarray:
    """int64 rows of the table, that of unknown items where an item has none."""
    if callable(rows):
        row = np.asarray(rows(item))
        known = (item >= 0) & (row > UNKNOWN_ROW)
    elif not len(rows):
        return np.full(item.shape, UNKNOWN_ROW, dtype=np.int64)
    else:
        known = (item >= 0) & (item < len(rows))
        row = np.asarray(rows)[np.where(known, item, 0)]
    return np.where(known, row, UNKNOWN_ROW).astype(np.int64)
