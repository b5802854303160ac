"""What is known of items whoever acts: author, category, domain, time of publication."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import polars as pl

from muma.events.event import DOMAINS, EventLog

UNKNOWN = -1


@dataclass(frozen=True)
class Catalogue:
    """Attributes by dense item index; -1 where there is none.

    Authors and categories are numbered in order of first appearance in the items table.

    Shape:
        author_I, category_I, domain_I: int64 codes [I]; published_I: int64 microseconds [I].
        authors, categories: names by code.
    """

    author_I: np.ndarray
    category_I: np.ndarray
    domain_I: np.ndarray
    published_I: np.ndarray
    authors: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    @classmethod
    def empty(cls, n_items: int = 0) -> Catalogue:
        """A catalogue that knows nothing of `n_items` items."""
        nothing = np.full(n_items, UNKNOWN, dtype=np.int64)
        return cls(nothing, nothing, nothing, nothing)

    @classmethod
    def of(cls, log: EventLog) -> Catalogue:
        """The catalogue of a log; the first row of an item counts."""
        columns = ["item_id", "author", "category", "domain", "published_at"]
        items = (
            log.items.select(columns).collect().unique("item_id", keep="first", maintain_order=True)
        )
        items = items.filter(pl.col("item_id").is_not_null())
        place = items.get_column("item_id").to_numpy().astype(np.int64)
        n_items = max(log.n_items, int(place.max(initial=-1)) + 1)

        def spread(values: np.ndarray) -> np.ndarray:
            full = np.full(n_items, UNKNOWN, dtype=np.int64)
            full[place] = values
            return full

        author, authors = _codes(items.get_column("author"))
        category, categories = _codes(items.get_column("category"))
        domain = items.get_column("domain").cast(pl.Enum(DOMAINS)).to_physical()
        published = items.get_column("published_at")
        return cls(
            spread(author),
            spread(category),
            spread(domain.cast(pl.Int64).fill_null(UNKNOWN).to_numpy()),
            spread(published.fill_null(UNKNOWN).to_numpy()),
            authors,
            categories,
        )

    def of_items(self, attribute: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Attribute of each item index (int64, -1 for none); -1 for items the catalogue lacks."""
        return _of_items(attribute, item)


@numba.njit(cache=True, nogil=True)
def _of_items(attribute: np.ndarray, item: np.ndarray) -> np.ndarray:
    found = np.empty(item.shape, dtype=np.int64)
    for i in range(len(item)):
        known = 0 <= item[i] < len(attribute)
        found[i] = attribute[item[i]] if known else UNKNOWN
    return found


def _codes(names: pl.Series) -> tuple[np.ndarray, tuple[str, ...]]:
    distinct = names.drop_nulls().unique(maintain_order=True)
    table = pl.DataFrame({"name": distinct, "code": np.arange(len(distinct), dtype=np.int64)})
    joined = (
        names.alias("name").to_frame().join(table, on="name", how="left", maintain_order="left")
    )
    return joined.get_column("code").fill_null(UNKNOWN).to_numpy(), tuple(distinct.to_list())
