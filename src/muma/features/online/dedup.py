"""Events that were seen before, by the sender's id, within a horizon of event time.

Ids are remembered by the bucket of time that their event lies in, so that a repeat, which carries the
same time, meets its original, and whole buckets are forgotten as time goes on.
"""

from __future__ import annotations

import numba
import numpy as np

BUCKETS = 8  # buckets in a horizon
_MIX = np.uint64(0x9E3779B97F4A7C15)
_ZERO = np.uint64(0x5851F42D4C957F2D)  # stands for the id 0: zero marks an empty slot
PREFIX = "dedup/"


class Dedup:
    """Remembers ids for `horizon` microseconds of event time behind the newest event."""

    def __init__(self, horizon: int) -> None:
        self._span = max(horizon // BUCKETS, 1)
        self._sets: dict[int, _Set] = {}
        self._fresh: dict[int, list[np.ndarray]] = {}
        self._names: dict[int, list[str]] = {}
        self._written = 0

    def __len__(self) -> int:
        return sum(found.count for found in self._sets.values())

    def repeated(
        self, ids: np.ndarray, times: np.ndarray, watermark: int
    ) -> tuple[np.ndarray, int]:
        """Which events were seen before; the others are remembered.

        Args:
            ids: uint64 [N].
            times: int64 [N] microseconds.
            watermark: newest event time before them.

        Returns:
            bool [N], and how many events were too old to be checked.
        """
        repeats = np.zeros(len(ids), dtype=np.bool_)
        bucket = times // self._span
        newest = np.maximum.accumulate(np.maximum(times, watermark))  # as each one arrived
        young = bucket >= self._oldest(newest)
        for place in np.unique(bucket[young]).tolist():
            mine = np.flatnonzero(young & (bucket == place))
            found = self._sets.setdefault(place, _Set()).add(ids[mine])
            repeats[mine] = found
            self._fresh.setdefault(place, []).append(ids[mine][~found])
        unchecked = len(ids) - int(young.sum())
        return repeats, unchecked

    def changes(self, watermark: int) -> dict[str, bytes | None]:
        """Blobs to commit: the new ids, and what is forgotten."""
        blobs: dict[str, bytes | None] = {}
        oldest = int(self._oldest(np.int64(watermark)))
        for place in [p for p in self._sets if p < oldest]:
            del self._sets[place]
            self._fresh.pop(place, None)
            blobs |= dict.fromkeys(self._names.pop(place, []))
        for place, parts in self._fresh.items():
            ids = np.concatenate(parts)
            if len(ids):
                name = f"{PREFIX}{place:012d}/{self._written:012d}"
                self._written += 1
                self._names.setdefault(place, []).append(name)
                blobs[name] = ids.tobytes()
        self._fresh = {}
        return blobs

    def restore(self, name: str, blob: bytes) -> None:
        """Take back a blob of an earlier run."""
        place, number = (int(part) for part in name.removeprefix(PREFIX).split("/"))
        self._sets.setdefault(place, _Set()).add(np.frombuffer(blob, dtype=np.uint64))
        self._names.setdefault(place, []).append(name)
        self._written = max(self._written, number + 1)

    def _oldest(self, watermark: np.ndarray | np.int64) -> np.ndarray | np.int64:
        return watermark // self._span - BUCKETS


class _Set:
    """A growing set of 64-bit ids."""

    def __init__(self) -> None:
        self._bits = 10
        self._slots = np.zeros(1 << self._bits, dtype=np.uint64)
        self.count = 0

    def add(self, ids: np.ndarray) -> np.ndarray:
        """Add ids; true where it was there already, or earlier in `ids`. bool [N]."""
        while (self.count + len(ids)) * 2 > 1 << self._bits:
            self._bits += 1
        if len(self._slots) < 1 << self._bits:
            old = self._slots[self._slots != 0]
            self._slots = np.zeros(1 << self._bits, dtype=np.uint64)
            _add(old, self._slots, self._bits)
        found = _add(ids, self._slots, self._bits)
        self.count += len(ids) - int(found.sum())
        return found


@numba.njit(cache=True, nogil=True)
def _add(ids: np.ndarray, slots: np.ndarray, bits: int) -> np.ndarray:
    found = np.zeros(len(ids), dtype=np.bool_)
    mask = (1 << bits) - 1
    for n in range(len(ids)):
        key = ids[n] if ids[n] != np.uint64(0) else _ZERO
        at = np.int64((key * _MIX) >> np.uint64(64 - bits))
        while slots[at] != np.uint64(0) and slots[at] != key:
            at = (at + 1) & mask
        found[n] = slots[at] == key
        slots[at] = key
    return found
