"""Columns of a table as numbers that a model can read, the same way on every later table.

A number is one feature, its gaps filled with the mean of the table it was learned on, and a second one that
says "missing" where there were gaps; a text is one feature a value, for the most frequent ones.

Shape: B rows, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import polars as pl

from muma.errors import SchemaError

_LEVELS = 50


@dataclass(frozen=True)
class Coding:
    """How one column becomes features.

    Attributes:
        column: its name.
        levels: values that have a feature each; empty for a number.
        fill: of a number's gaps.
        gaps: whether a feature says that the value is missing.
    """

    column: str
    levels: tuple[str, ...] = ()
    fill: float = 0.0
    gaps: bool = False


@dataclass(frozen=True)
class ContextCoder:
    """Codings of some columns; made by `learn`."""

    codings: tuple[Coding, ...]

    @classmethod
    def learn(cls, frame: pl.DataFrame, columns: Sequence[str]) -> ContextCoder:
        """Look at the columns of a table.

        Raises:
            SchemaError: a column is absent, or is neither numbers, truth values nor text.

        Example:
            >>> frame = pl.DataFrame({"hour": [7.0, None], "device": ["tv", "phone"]})
            >>> coder = ContextCoder.learn(frame, ["hour", "device"])
            >>> coder.names
            ('hour', 'hour missing', 'device = phone', 'device = tv')
            >>> coder.encode(frame).tolist()
            [[7.0, 0.0, 0.0, 1.0], [7.0, 1.0, 1.0, 0.0]]
        """
        return cls(tuple(_coding(_column(frame, name)) for name in columns))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the F features."""
        names: list[str] = []
        for one in self.codings:
            if one.levels:
                names += [f"{one.column} = {level}" for level in one.levels]
            else:
                names += [one.column, *([f"{one.column} missing"] if one.gaps else [])]
        return tuple(names)

    def encode(self, frame: pl.DataFrame) -> np.ndarray:
        """Features of a table, float32 [B, F]; values never seen before are all 0.

        Raises:
            SchemaError: a column is absent or of another type.
        """
        found = [np.zeros((len(frame), 0), np.float32)]
        for one in self.codings:
            column = _column(frame, one.column)
            if one.levels:
                text_B = column.cast(pl.String).to_numpy()
                found.append(text_B[:, None] == np.array(one.levels, dtype=object)[None, :])
                continue
            if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
                raise SchemaError(
                    f"column {one.column!r} is {column.dtype}; it was learned as numbers"
                )
            value_B = column.cast(pl.Float64).to_numpy()
            known_B = np.isfinite(value_B)
            found.append(np.where(known_B, value_B, one.fill)[:, None])
            if one.gaps:
                found.append(~known_B[:, None])
        return np.concatenate(found, axis=1, dtype=np.float32)

    def to_json(self) -> list[dict[str, Any]]:
        """Plain data."""
        return [asdict(one) for one in self.codings]

    @classmethod
    def from_json(cls, data: Sequence[Mapping[str, Any]]) -> Self:
        """What `to_json` gave."""
        return cls(tuple(Coding(**{**one, "levels": tuple(one["levels"])}) for one in data))


def _column(frame: pl.DataFrame, name: str) -> pl.Series:
    if name not in frame.columns:
        raise SchemaError(f"there is no column {name!r}; there are: {', '.join(frame.columns)}")
    return frame[name]


def _coding(column: pl.Series) -> Coding:
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        value_B = column.cast(pl.Float64).to_numpy()
        known_B = np.isfinite(value_B)
        fill = float(value_B[known_B].mean()) if known_B.any() else 0.0
        return Coding(column.name, (), fill, bool((~known_B).any()))
    if column.dtype not in {pl.String, pl.Categorical} and not isinstance(column.dtype, pl.Enum):
        raise SchemaError(
            f"column {column.name!r} is {column.dtype}; context is numbers, truth values or text"
        )
    counts = column.cast(pl.String).drop_nulls().value_counts(sort=True).head(_LEVELS)
    return Coding(column.name, tuple(sorted(counts[column.name].to_list())))
