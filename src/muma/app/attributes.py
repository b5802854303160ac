"""Attributes of items and users as columns of numbers; words become category codes.

Codes are places among the different values of the whole table in order, so that a column means the
same for every row; null is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from muma.errors import ConfigError
from muma.events.event import EventLog


@dataclass(frozen=True)
class Attributes:
    """Numbers of every item or user.

    Attributes:
        columns: names, `item_attr.NAME` or `user_attr.NAME`.
        value_XA: float32 [items or users, A].
        categorical: the columns that hold codes.
    """

    columns: tuple[str, ...]
    value_XA: np.ndarray
    categorical: tuple[str, ...]

    def of(self, index_N: np.ndarray) -> np.ndarray:
        """Rows of some items or users, float32 [N, A]; NaN for an index the table does not hold."""
        found_NA = np.full((len(index_N), len(self.columns)), np.nan, dtype=np.float32)
        known_N = (index_N >= 0) & (index_N < len(self.value_XA))
        found_NA[known_N] = self.value_XA[index_N[known_N]]
        return found_NA


def item_attributes(log: EventLog, names: Sequence[str]) -> Attributes:
    """Columns of the items' table.

    Raises:
        ConfigError: there is no such column, or it holds lists.
    """
    return _read(log.items, "item_id", log.n_items, names, "item_attr")


def user_attributes(log: EventLog, names: Sequence[str]) -> Attributes:
    """Columns of the users' table; see `item_attributes`."""
    return _read(log.users, "user_id", log.n_users, names, "user_attr")


def _read(
    table: pl.LazyFrame, key: str, size: int, names: Sequence[str], prefix: str
) -> Attributes:
    schema = table.collect_schema()
    if unknown := [name for name in names if name not in schema or name == key]:
        known = ", ".join(name for name in schema if name != key)
        raise ConfigError(f"ranking: there is no attribute {unknown[0]!r}; the log has: {known}")
    frame = table.select(key, *names).unique(key, keep="last", maintain_order=True).collect()
    value_XA = np.full((size, len(names)), np.nan, dtype=np.float32)
    categorical = []
    place = frame[key].to_numpy()
    for column, name in enumerate(names):
        values, kind = frame[name], schema[name]
        if kind.is_nested():
            raise ConfigError(f"ranking: attribute {name!r} holds lists; name a plain column")
        if not (kind.is_numeric() or kind == pl.Boolean):
            categorical.append(f"{prefix}.{_short(name)}")
            values = values.cast(pl.String).rank("dense") - 1
        value_XA[place, column] = values.cast(pl.Float32).fill_null(float("nan")).to_numpy()
    columns = tuple(f"{prefix}.{_short(name)}" for name in names)
    return Attributes(columns, value_XA, tuple(categorical))


def _short(name: str) -> str:
    return name.removeprefix("attr_")
