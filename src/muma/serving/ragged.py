"""Lists of different length, one a row, in flat arrays: tags of items.

Shape: I rows, N chosen rows, X values of those rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True)
class Ragged:
    """Rows of codes; a replaced row is written behind the others, and the old one is left as waste.

    Attributes:
        start_I: place of a row's first code in the pool, int64 [I].
        length_I: codes of a row, int64 [I].
        pool: codes, int32.

    Example:
        >>> rows = Ragged.of([[1, 2], [], [2]])
        >>> rows.any_of(np.array([2])).tolist(), rows.row(0)
        ([True, False, True], [1, 2])
    """

    start_I: np.ndarray
    length_I: np.ndarray
    pool: np.ndarray

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]]) -> Self:
        """Build from lists of codes."""
        kept = [list(row) for row in rows]
        length_I = np.array([len(row) for row in kept], dtype=np.int64)
        pool = np.array([code for row in kept for code in row], dtype=np.int32)
        return cls(np.cumsum(length_I) - length_I, length_I, pool)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.start_I)

    def row(self, i: int) -> list[int]:
        """Codes of one row."""
        start = int(self.start_I[i])
        return self.pool[start : start + int(self.length_I[i])].tolist()

    def pairs(self, row_N: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Every code of some rows (None: all): place among the rows asked for and code, each [X]."""
        start_N = self.start_I if row_N is None else self.start_I[row_N]
        length_N = self.length_I if row_N is None else self.length_I[row_N]
        place_X = np.repeat(np.arange(len(start_N)), length_N)
        first_N = np.cumsum(length_N) - length_N
        at_X = np.arange(len(place_X)) + np.repeat(start_N - first_N, length_N)
        return place_X, self.pool[at_X]

    def any_of(self, code_n: np.ndarray, row_N: np.ndarray | None = None) -> np.ndarray:
        """Which rows hold one of the codes, boolean [N]."""
        n = len(self) if row_N is None else len(row_N)
        if not len(code_n):
            return np.zeros(n, dtype=bool)
        place_X, code_X = self.pairs(row_N)
        hit_N = np.zeros(n, dtype=bool)
        hit_X = code_X == code_n[0] if len(code_n) == 1 else np.isin(code_X, code_n)
        hit_N[place_X[hit_X]] = True
        return hit_N

    def replaced(self, row_n: np.ndarray, rows: Sequence[Sequence[int]], size: int) -> Ragged:
        """Other codes in some rows, and empty rows up to `size`.

        Args:
            row_n: the rows, each below `size`.
            rows: their codes.
            size: rows of the result, at least as many as now.
        """
        fresh = Ragged.of(rows)
        start_I = np.zeros(size, dtype=np.int64)
        length_I = np.zeros(size, dtype=np.int64)
        start_I[: len(self)], length_I[: len(self)] = self.start_I, self.length_I
        start_I[row_n], length_I[row_n] = fresh.start_I + len(self.pool), fresh.length_I
        grown = Ragged(start_I, length_I, np.concatenate([self.pool, fresh.pool]))
        return grown.packed() if len(grown.pool) > 2 * int(length_I.sum()) + 1024 else grown

    def packed(self) -> Ragged:
        """The same rows without waste."""
        _, code_X = self.pairs()
        return Ragged(np.cumsum(self.length_I) - self.length_I, self.length_I, code_X)
