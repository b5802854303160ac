"""The rows that features are asked for: who, what, when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from muma.errors import DataError, SchemaError

COLUMNS = ("user_id", "item_id", "timestamp")
HIGHEST_ID = 2**32 - 1
FURTHEST = 2**62  # microseconds; so that a time minus a window stays inside 64 bits


@dataclass(frozen=True)
class Rows:
    """B rows.

    Shape:
        user_B, item_B: int64 dense indices, -1 for none. at_B: int64 microseconds.
    """

    user_B: np.ndarray
    item_B: np.ndarray
    at_B: np.ndarray

    def __len__(self) -> int:
        return len(self.at_B)

    def part(self, start: int, stop: int) -> Rows:
        """Rows `start` to `stop`, without a copy."""
        return Rows(self.user_B[start:stop], self.item_B[start:stop], self.at_B[start:stop])

    @classmethod
    def of(cls, frame: pl.DataFrame | pl.LazyFrame) -> Rows:
        """Check and take the columns `user_id`, `item_id` and `timestamp`; others are not read.

        Raises:
            SchemaError: a column is missing or is not a whole number.
            DataError: a timestamp is null or out of range, or an id is no 32-bit index.

        Example:
            >>> rows = pl.DataFrame({"user_id": [3], "item_id": [None], "timestamp": [10]},
            ...                     schema_overrides={"item_id": pl.UInt32})
            >>> Rows.of(rows).item_B
            array([-1])
        """
        lazy = frame.lazy()
        schema = lazy.collect_schema()
        if absent := [name for name in COLUMNS if name not in schema]:
            raise SchemaError(
                f"rows: column {absent[0]!r} is missing; rows need {', '.join(COLUMNS)}"
            )
        for name in COLUMNS:
            kind = schema[name]
            if not (kind.is_integer() or (kind == pl.Null and name != "timestamp")):
                wanted = "UTC microseconds (Int64)" if name == "timestamp" else "a dense index"
                raise SchemaError(f"rows: column {name!r} is {kind}; make it {wanted}")
        whole = lazy.select(COLUMNS).collect()
        return cls(_ids(whole["user_id"]), _ids(whole["item_id"]), _times(whole["timestamp"]))


def _ids(values: pl.Series) -> np.ndarray:
    highest = values.max()
    if highest is not None and int(highest) > HIGHEST_ID:  # pyright: ignore[reportArgumentType]
        raise DataError(
            f"rows: {values.name} holds {highest}; a dense index is at most {HIGHEST_ID}. "
            "Translate raw ids by the log's vocabularies first"
        )
    ids = values.cast(pl.Int64).fill_null(-1).to_numpy()
    return np.maximum(ids, -1)


def _times(values: pl.Series) -> np.ndarray:
    if values.null_count():
        row = values.is_null().arg_true()[0]
        raise DataError(
            f"rows: timestamp is null in {values.null_count()} rows (the first is row {row}); "
            "every row needs a time"
        )
    if len(values) and max(abs(int(values.min())), abs(int(values.max()))) > FURTHEST:  # pyright: ignore[reportArgumentType]
        raise DataError("rows: a timestamp is beyond 2^62 microseconds; give UTC microseconds")
    return values.cast(pl.Int64).to_numpy()
