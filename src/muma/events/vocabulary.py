"""A persistent two-way map between the ids of the files and dense integers.

Indices are given in order of first appearance and never change, so a vocabulary may grow while
everything fitted on it stays valid. Ids stay integers while every id seen is one; the first text id
turns all of them into text (5 becomes "5"), and their indices stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from muma.errors import UnknownIdError

INDEX = pl.UInt32
ABSENT = 2**32 - 1
DIRECT_LIMIT = 1 << 26  # ids below this are looked up in a plain table (256 MiB at most)


def forgotten_word(index: int) -> tuple[int, str]:
    """What stands for a forgotten id at an index, among integers and among text; no id can be it."""
    return -(2**63) + index, f"\0{index}"


def forgotten(ids: pl.Series) -> pl.Series:
    """Which ids of a vocabulary are forgotten, Boolean, shape [len(ids)].

    Example:
        >>> forgotten(pl.Series(["ann", forgotten_word(1)[1]])).to_list()
        [False, True]
    """
    place = pl.int_range(pl.len(), dtype=pl.Int64)
    whole = place - 2**63
    told = pl.col("id") == whole
    if ids.dtype == pl.String:
        told = (pl.col("id") == whole.cast(pl.String)) | (
            pl.col("id") == pl.lit("\0") + place.cast(pl.String)
        )
    return ids.alias("id").to_frame().select(told).to_series()


class Vocabulary:
    """Raw id <-> dense index in [0, len).

    Example:
        >>> words = Vocabulary()
        >>> words.add(pl.Series(["b", "a", "b"])).to_list()
        [0, 1, 0]
        >>> words.decode([1])
        ['a']
    """

    def __init__(self, ids: pl.Series | None = None) -> None:
        self._ids = pl.Series("id", [], dtype=pl.Int64) if ids is None else ids.alias("id")
        self._table: pl.DataFrame | None = None
        self._direct: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def ids(self) -> pl.Series:
        """Raw ids by index; Int64 or String, shape [len]."""
        return self._ids

    def add(self, raw: pl.Series) -> pl.Series:
        """Index of every raw id, new ids being appended first.

        Args:
            raw: integers or text without nulls, any length.

        Returns:
            UInt32 indices, shape [len(raw)].
        """
        raw = self._align(raw)
        found = self._lookup(raw)
        if not found.null_count():
            return found
        absent = found.is_null()
        fresh = raw.filter(absent).unique(maintain_order=True)
        self._ids = pl.concat([self._ids, fresh.alias("id")])
        self._grow(fresh)
        late = self._lookup(raw.filter(absent))
        return late if len(late) == len(raw) else found.scatter(absent.arg_true(), late)

    def encode(self, raw: Sequence[int | str] | pl.Series) -> pl.Series:
        """Index of every raw id; text that spells an integer finds an integer id.

        Raises:
            UnknownIdError: an id has never been seen.
        """
        asked = raw if isinstance(raw, pl.Series) else pl.Series(list(raw), strict=False)
        values = asked.cast(self._ids.dtype, strict=False)
        if asked.dtype.is_float():
            values = values.set(asked != asked.floor(), None)
        elif asked.dtype == pl.String and self._ids.dtype == pl.Int64:
            values = values.set(values.cast(pl.String) != asked, None)  # "013" is not 13
        found = self._lookup(values)
        if found.null_count():
            unknown = asked.filter(found.is_null()).unique(maintain_order=True)
            shown = ", ".join(repr(value) for value in unknown.head(3).to_list())
            raise UnknownIdError(
                f"unknown id {shown}{' ...' if len(unknown) > 3 else ''}: "
                f"none of the {len(self):,} known ids; known ones look like "
                f"{self._ids.head(3).to_list()}"
            )
        return found

    def index(self, raw: str) -> int:
        """Index of one raw id as text, as `encode` finds it.

        Raises:
            UnknownIdError: it has never been seen.
        """
        return int(self.encode([raw])[0])

    def decode(self, index: Sequence[int] | np.ndarray | pl.Series) -> list[int] | list[str]:
        """Raw ids of dense indices.

        Raises:
            UnknownIdError: an index lies outside [0, len).
        """
        positions = pl.Series(np.asarray(index)).cast(pl.Int64)
        outside = positions.filter(~positions.is_between(0, len(self) - 1))
        if len(outside):
            raise UnknownIdError(f"no id has the index {outside[0]}; there are {len(self):,} ids")
        return self._ids.gather(positions).to_list()

    def save(self, path: Path) -> None:
        """Write one Parquet column `id`, in index order."""
        self._ids.to_frame().write_parquet(path)

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read what `save` wrote."""
        return cls(pl.read_parquet(path, glob=False).get_column("id"))

    def _align(self, raw: pl.Series) -> pl.Series:
        if not raw.dtype.is_integer():
            raw = raw.cast(pl.String)
            if self._ids.dtype != pl.String:
                self._ids = self._ids.cast(pl.String)
                self._table = self._direct = None
        return raw.cast(self._ids.dtype)

    def _grow(self, fresh: pl.Series) -> None:
        """Keep the lookup in step after `fresh` was appended."""
        self._table = None
        if self._direct is None or fresh.dtype == pl.String:
            self._direct = None
            return
        values = fresh.to_numpy()
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= DIRECT_LIMIT:
            self._direct = None
            return
        if high >= len(self._direct):
            grown = np.full(max(high + 1, 2 * len(self._direct)), ABSENT, dtype=np.uint32)
            grown[: len(self._direct)] = self._direct
            self._direct = grown
        first = len(self._ids) - len(values)
        self._direct[values] = np.arange(first, first + len(values), dtype=np.uint32)

    def _lookup(self, raw: pl.Series) -> pl.Series:
        """Index of every value, null where it is unknown."""
        if raw.dtype == pl.Int64 and raw.null_count() == 0:
            direct = self._table_of_integers()
            if direct is not None:
                values = raw.to_numpy()
                inside = (values >= 0) & (values < len(direct))
                if not inside.all():
                    values = np.where(inside, values, len(direct) - 1)
                index = direct[values]
                missing = (index == ABSENT) | ~inside
                found = pl.Series("index", index)
                if not missing.any():
                    return found
                return found.set(pl.Series(missing), None)
        if self._table is None:
            self._table = self._ids.to_frame().with_row_index("index")
        asked = pl.DataFrame({"id": raw})
        joined = asked.join(self._table, on="id", how="left", maintain_order="left")
        return joined.get_column("index").cast(INDEX)

    def _table_of_integers(self) -> np.ndarray | None:
        """Direct table value -> index, as long as ids are small non-negative integers."""
        if self._direct is None and self._ids.dtype == pl.Int64:
            values = self._ids.to_numpy()
            if len(values) and (int(values.min()) < 0 or int(values.max()) >= DIRECT_LIMIT):
                return None
            size = max(1024, int(values.max()) + 1 if len(values) else 0)
            self._direct = np.full(size, ABSENT, dtype=np.uint32)
            self._direct[values] = np.arange(len(values), dtype=np.uint32)
        return self._direct
