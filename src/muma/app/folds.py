"""The pieces of time that ranking learns from: nobody may score a row with a model that saw its label.

|-- prehistory --|-- slice 0 --|-- ... --|-- slice S-1 --|-- valid --|-- later --|-- test --|
                 ^             ^                         ^                       ^
                 sources of slice 0 are fitted before its begin, and so on; those of valid and
                 later before the validation part, those of test before the test part
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from muma.errors import DataError
from muma.events.event import EventLog
from muma.events.split import Split

Role = Literal["train", "valid", "later", "test"]


@dataclass(frozen=True)
class Fold:
    """A piece of time.

    Attributes:
        role: what its rows are for.
        start, end: UTC microseconds, the end not included; None is open.
        known_before: its sources are fitted on events before this moment.
    """

    role: Role
    start: int
    end: int | None
    known_before: int


def folds_of(log: EventLog, split: Split, *, slices: int) -> list[Fold]:
    """Cut the log's true times: `slices` even parts of the training window, then the others.

    Where nothing is known before the first true time, the first piece of the training window is
    only learned from by sources, and `slices` others follow it.

    Args:
        log: the whole log.
        split: by global time.
        slices: of the training window, by number of events.

    Raises:
        DataError: the split has no common moments, or a piece holds no time.
    """
    first, second = split.validation_start, split.test_start
    if first is None or second is None:
        raise DataError(
            "ranking needs one moment before which everything is known; use "
            "muma.events.split.GlobalTime"
        )
    true = ~pl.col("time_inferred").fill_null(False)
    time = log.events.filter(true).select("timestamp").collect().to_series().to_numpy()
    early, middle = time[time < first], time[(time >= first) & (time < second)]
    if not len(early) or not len(middle):
        raise DataError("the training or the validation window holds no event with a true time")
    before = log.between(None, int(early.min())).events.select(pl.len()).collect().item()
    pieces = slices if before else slices + 1  # without a prehistory the first piece is one
    shares = np.arange(pieces - slices, pieces) / pieces
    cuts = np.unique(np.quantile(early, shares).astype(np.int64)).tolist()
    half = int(np.median(middle))
    if len(cuts) < slices or not cuts[-1] < first < half < second:
        raise DataError(
            f"the log's times cannot be cut into {slices} slices and two validation folds; lower "
            "ranking.slices"
        )
    found = [
        Fold("train", start, end, start)
        for start, end in zip(cuts, [*cuts[1:], first], strict=True)
    ]
    return [
        *found,
        Fold("valid", first, half, first),
        Fold("later", half, second, first),
        Fold("test", second, None, second),
    ]
