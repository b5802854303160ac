"""Facts of the items of an event log: which columns hold what rules ask for.

Shape: I items.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from muma.config import Config
from muma.errors import SchemaError
from muma.events.event import EventLog
from muma.serving.facts import ItemFact, ItemFacts

_TEXTS = ("title", "domain", "category", "author", "owner")
_LISTS = ("tags", "regions")
_TIMES = ("published_at", "rights_from", "rights_until", "embargo_until", "expires_at")


class CatalogueConfig(Config):
    """Columns of the items' table; one that the table does not have is unknown of every item.

    Attributes:
        title, domain, category, author, owner: text.
        tags, regions: lists of text.
        published_at, rights_from, rights_until, embargo_until, expires_at: date-times (UTC if they
            have no zone), or UTC microseconds.
        least_age: years.
    """

    title: str = "title"
    domain: str = "domain"
    category: str = "category"
    author: str = "author"
    owner: str = "attr_owner"
    tags: str = "tags"
    regions: str = "attr_regions"
    published_at: str = "published_at"
    rights_from: str = "attr_rights_from"
    rights_until: str = "attr_rights_until"
    embargo_until: str = "attr_embargo_until"
    expires_at: str = "attr_expires_at"
    least_age: str = "attr_least_age"


def item_facts(log: EventLog, config: CatalogueConfig = CatalogueConfig()) -> ItemFacts:
    """Facts of all items of a log, in the order of its vocabulary, as text ids.

    Items that the items' table does not list are known by their id alone.

    Raises:
        SchemaError: a column is not of the type that is wanted.
        DataError: a value is out of range.

    Example:
        >>> from muma.testing.logs import tiny_log
        >>> facts = item_facts(tiny_log({0: [1, 2]}))
        >>> len(facts), facts.find(facts.ids[0])
        (3, 0)
    """
    present = log.items.collect_schema()
    named = {field: getattr(config, field) for field in CatalogueConfig.model_fields}
    read = [
        _column(field, name, present[name]).alias(field)
        for field, name in named.items()
        if name in present
    ]
    table = log.items.select("item_id", *read).unique("item_id", keep="last").collect()
    ids = [str(raw) for raw in log.item_ids.decode(range(log.n_items))]
    return ItemFacts.empty().with_items(_facts(ids, table))


def _facts(ids: list[str], table: pl.DataFrame) -> Iterator[ItemFact]:
    rows: dict[int, dict[str, Any]] = {row["item_id"]: row for row in table.iter_rows(named=True)}
    for dense, name in enumerate(ids):
        row = rows.get(dense, {})
        known: dict[str, Any] = {field: row[field] for field in (*_TEXTS, *_TIMES) if field in row}
        known |= {field: tuple(v for v in row.get(field) or () if v) for field in _LISTS}
        yield ItemFact(id=name, least_age=int(row.get("least_age") or 0), **known)


def _column(field: str, name: str, kind: pl.DataType) -> pl.Expr:
    """One column as the facts want it."""
    column = pl.col(name)
    if field in _TEXTS:
        if not kind.is_nested():
            return column.cast(pl.String)
    elif field in _LISTS:
        if isinstance(kind, pl.List):
            return column.cast(pl.List(pl.String))
        if kind == pl.String:
            return pl.concat_list(column)
    elif field == "least_age":
        if kind.is_numeric():
            return column.fill_nan(None) if kind.is_float() else column
    elif kind.is_integer():
        return column.cast(pl.Int64)
    elif isinstance(kind, pl.Datetime):
        return column.dt.cast_time_unit("us").cast(pl.Int64)
    raise SchemaError(
        f"items column {name!r} is {kind}, which cannot be read as {field}; see CatalogueConfig"
    )
