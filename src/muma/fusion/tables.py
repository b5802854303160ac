"""Reading a log's tables by dense index: which columns are there, and what they hold.

Shape: R rows with data.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from muma.errors import DataError
from muma.events.event import EventLog
from muma.fusion.encoder import Entity

KEYS: dict[Entity, str] = {"item": "item_id", "user": "user_id"}


def table_of(log: EventLog, entity: Entity, columns: Sequence[str]) -> pl.DataFrame:
    """The asked columns of the items or users, a row an entity, in order of its dense index.

    Columns that the log does not carry are left out; the last row of an entity counts.

    Example:
        >>> from muma.testing.logs import tiny_log
        >>> table_of(tiny_log({0: [1]}), "item", ["author", "attr_none"]).columns
        ['item_id', 'author']
    """
    frame = log.items if entity == "item" else log.users
    key = KEYS[entity]
    known = set(frame.collect_schema().names())
    asked = frame.select(key, *(name for name in columns if name in known))
    found = asked.unique(key, keep="last", maintain_order=True).sort(key).collect()
    return found.with_columns(pl.col(key).cast(pl.Int64))


def needed(log: EventLog, entity: Entity, column: str) -> pl.DataFrame:
    """One column, only where it holds something.

    Raises:
        DataError: the log does not carry the column.
    """
    found = table_of(log, entity, [column])
    if column not in found.columns:
        raise DataError(f"the log's {entity}s have no column {column!r}; name one that they have")
    return found.drop_nulls(column)
