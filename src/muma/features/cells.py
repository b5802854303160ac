"""Merged integers as families read them: one cell position of all the features of a block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

from muma.features.feature import Op, Partial
from muma.features.window import STEPS, WEIGHTS, Decay, Window, sub_step


@dataclass(frozen=True)
class CellReader:
    """Where F cells lie, and how their integers become numbers (see `Family.values`).

    Shape:
        words_F: int64 [F], or [F, words] for sketches and buckets: places among the merged words.
        base_F: int64 [F]: what words of `min` and `max` count from.
        life_F: int64 [F]: half-life (microseconds) of cells that decay, 0 for the others.
    """

    op: Op
    words_F: np.ndarray
    base_F: np.ndarray
    life_F: np.ndarray

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
        base = np.zeros(len(partials), dtype=np.int64)
        if first.op in ("min", "max"):
            ends = [
                p.measure.high + 1 if first.op == "min" else p.measure.low - 1 for p in partials
            ]
            base = np.array(ends, dtype=np.int64)
        return cls(first.op, words, base, np.array(lives, dtype=np.int64))

    @property
    def plain(self) -> bool:
        """Whether `plain_cells` reads them: sums and counts, one word each."""
        return self.op in ("add", "count")

    def read(self, merged_BM: np.ndarray, at_B: np.ndarray) -> np.ndarray:
        """The cells of B requests; float64 or uint8, [B, F] or [B, F, size]."""
        if self.plain:
            return plain_cells(merged_BM, at_B, self.words_F, self.life_F)
        if self.op in ("min", "max"):
            return _extremes(merged_BM, self.words_F, self.base_F, 1 if self.op == "max" else -1)
        raw = merged_BM[:, self.words_F]
        if self.op == "hll":
            return np.ascontiguousarray(raw).view(np.uint8)
        cell = raw.astype(np.float64)
        for half_life in np.unique(self.life_F[self.life_F > 0]).tolist():
            weight_B = WEIGHTS[sub_step(at_B, half_life)].astype(np.float64)
            cell[:, self.life_F == half_life] /= weight_B[:, None, None]
        return cell


@numba.njit(cache=True, nogil=True)
def plain_cells(
    merged_BM: np.ndarray, at_B: np.ndarray, words_F: np.ndarray, life_F: np.ndarray
) -> np.ndarray:
    """Sums and counts as numbers, decayed where they decay: float64 [B, F].

    Args:
        merged_BM: int64 merged words.
        at_B: int64 microseconds.
        words_F: int64, place of each cell's word.
        life_F: int64 half-life in microseconds; 0 does not decay.
    """
    cell_BF = np.empty((len(at_B), len(words_F)), dtype=np.float64)
    for b in range(len(at_B)):
        for f in range(len(words_F)):
            value, life = np.float64(merged_BM[b, words_F[f]]), life_F[f]
            if life > 0:
                value /= np.float64(WEIGHTS[at_B[b] % life * STEPS // life])
            cell_BF[b, f] = value
    return cell_BF


@numba.njit(cache=True, nogil=True)
def _extremes(
    merged_BM: np.ndarray, words_F: np.ndarray, base_F: np.ndarray, sign: int
) -> np.ndarray:
    """Lowest or highest values, float64 [B, F]; NaN without an event."""
    cell_BF = np.full((len(merged_BM), len(words_F)), np.nan)
    for b in range(len(merged_BM)):
        for f in range(len(words_F)):
            word = merged_BM[b, words_F[f]]
            if word > 0:
                cell_BF[b, f] = base_F[f] + sign * word
    return cell_BF


@numba.njit(cache=True, nogil=True)
def without_key(values_BF: np.ndarray, present_BK: np.ndarray, keys_FK: np.ndarray) -> None:
    """Make NaN, in place, what a request lacks a key for.

    Args:
        values_BF: float64.
        present_BK: bool, whether the request has a key of each kind.
        keys_FK: bool, kinds of key that a feature needs.
    """
    for b in range(len(values_BF)):
        for k in range(present_BK.shape[1]):
            if present_BK[b, k]:
                continue
            for f in range(len(keys_FK)):
                if keys_FK[f, k]:
                    values_BF[b, f] = np.nan
