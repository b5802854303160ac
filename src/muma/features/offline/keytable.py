"""A hash table from keys to consecutive group numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Fibonacci hashing
NONE = -1


@dataclass(frozen=True)
class KeyTable:
    """G distinct keys, numbered in rising order; open addressing with linear probing.

    Shape:
        key_H: uint64 keys by slot. group_H: int32 group by slot, -1 for an empty one. H is a power
        of two.
    """

    key_H: np.ndarray
    group_H: np.ndarray
    size: int

    @classmethod
    def of(cls, keys: np.ndarray) -> KeyTable:
        """The table of the distinct values of `keys` (uint64, any order).

        Example:
            >>> table = KeyTable.of(np.array([9, 4, 9], dtype=np.uint64))
            >>> table.groups(np.array([4, 5, 9], dtype=np.uint64)).tolist()
            [0, -1, 1]
        """
        ordered = np.sort(keys)
        distinct = ordered[np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]]
        bits = max(4, (2 * len(distinct)).bit_length())
        key_H = np.zeros(1 << bits, dtype=np.uint64)
        group_H = np.full(1 << bits, NONE, dtype=np.int32)
        _insert(distinct, key_H, group_H, np.uint64(64 - bits))
        return cls(key_H, group_H, len(distinct))

    def groups(self, keys: np.ndarray) -> np.ndarray:
        """Group of each key (uint64 [n]); int32 [n], -1 for a key that the table lacks."""
        found = np.empty(len(keys), dtype=np.int32)
        shift = np.uint64(64 - (len(self.key_H).bit_length() - 1))
        _find(np.ascontiguousarray(keys), self.key_H, self.group_H, shift, found)
        return found


@numba.njit(cache=True, nogil=True)
def _insert(
    keys: np.ndarray, key_H: np.ndarray, group_H: np.ndarray, shift: np.uint64
) -> None:  # pragma: no cover - compiled
    last = len(key_H) - 1
    for group in range(len(keys)):
        slot = np.int64((keys[group] * _SPREAD) >> shift)
        while group_H[slot] >= 0:
            slot = (slot + 1) & last
        key_H[slot] = keys[group]
        group_H[slot] = group


@numba.njit(cache=True, nogil=True)
def _find(
    keys: np.ndarray, key_H: np.ndarray, group_H: np.ndarray, shift: np.uint64, found: np.ndarray
) -> None:  # pragma: no cover - compiled
    last = len(key_H) - 1
    for n in range(len(keys)):
        slot = np.int64((keys[n] * _SPREAD) >> shift)
        while group_H[slot] >= 0 and key_H[slot] != keys[n]:
            slot = (slot + 1) & last
        found[n] = group_H[slot]
