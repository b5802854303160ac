"""Merged integers as families read them: one cell position of all the features of a block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from muma.features.feature import Op, Partial
from muma.features.window import WEIGHTS, Decay, Window, sub_step


@dataclass(frozen=True)
class CellReader:
    """Where F cells lie, and how their integers become numbers (see `Family.values`).

    Shape:
        words_F: int64 [F], or [F, words] for sketches and buckets: places among the merged words.
        base_F: int64 [F]: what words of `min` and `max` count from.
        halved: half-life (microseconds) and the cells that decay with it, int64.
    """

    op: Op
    words_F: np.ndarray
    base_F: np.ndarray
    halved: tuple[tuple[int, np.ndarray], ...]

    @classmethod
    def of(
        cls, places: Sequence[int], partials: Sequence[Partial], windows: Sequence[Window]
    ) -> CellReader:
        """Compile F cells of one operation and size.

        Args:
            places: first merged word of each.
            partials: what each keeps.
            windows: over what.
        """
        first = partials[0]
        words = np.array(places, dtype=np.int64)
        if first.op in ("hll", "bucket"):
            words = words[:, None] + np.arange(first.words)
        lives = [window.half_life if isinstance(window, Decay) else 0 for window in windows]
        halved = tuple(
            (life, np.flatnonzero(np.array(lives) == life)) for life in sorted(set(lives)) if life
        )
        base = np.zeros(len(partials), dtype=np.int64)
        if first.op in ("min", "max"):
            ends = [
                p.measure.high + 1 if first.op == "min" else p.measure.low - 1 for p in partials
            ]
            base = np.array(ends, dtype=np.int64)
        return cls(first.op, words, base, halved)

    @property
    def plain(self) -> bool:
        """Whether the cells are the words themselves, one each."""
        return self.op in ("add", "count") and not self.halved

    def read(self, merged_BM: np.ndarray, at_B: np.ndarray) -> np.ndarray:
        """The cells of B requests; float64 or uint8, [B, F] or [B, F, size]."""
        raw = merged_BM[:, self.words_F]
        if self.op == "hll":
            return np.ascontiguousarray(raw).view(np.uint8)
        if self.op == "max":
            return np.where(raw > 0, raw + self.base_F, np.nan)
        if self.op == "min":
            return np.where(raw > 0, self.base_F - raw, np.nan)
        cell = raw.astype(np.float64)
        for half_life, columns in self.halved:
            weight_B = WEIGHTS[sub_step(at_B, half_life)].astype(np.float64)
            cell[:, columns] /= weight_B.reshape((-1,) + (1,) * (cell.ndim - 1))
        return cell
