"""Events that were seen before, by the sender's id, within a horizon of event time.

An id is remembered with the bucket of time its event lies in, and forgotten bucket by bucket as time
goes on; a repeat usually carries the same time, but need not. Event by event, so that the cutting of
batches does not matter.
"""

from __future__ import annotations

import numba
import numpy as np

BUCKETS = 8  # buckets in a horizon
FIRST_BITS = 10
PREFIX = "dedup/"
_MIX = np.uint64(0x9E3779B97F4A7C15)
_EMPTY = -1


class Dedup:
    """Remembers ids for `horizon` microseconds of event time behind the newest event."""

    def __init__(self, horizon: int) -> None:
        self._span = max(horizon // BUCKETS, 1)
        self._reset(FIRST_BITS)
        self._fresh: list[tuple[np.ndarray, np.ndarray]] = []  # ids and buckets, not handed over
        self._names: dict[int, list[str]] = {}
        self._written = 0

    def __len__(self) -> int:
        """Ids held, those included that will be forgotten when the table next grows."""
        return self._count

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
        self._make_room(len(ids), self._oldest(watermark))
        repeats, fresh, added, unchecked = _see(
            ids, times, watermark, self._span, self._slot_id, self._slot_bucket, self._bits
        )
        self._count += added
        self._fresh.append((ids[fresh], times[fresh] // self._span))
        return repeats, unchecked

    def changes(self, watermark: int) -> dict[str, bytes | None]:
        """Blobs to commit: the new ids by bucket, and the buckets that are forgotten."""
        blobs: dict[str, bytes | None] = {}
        oldest = self._oldest(watermark)
        for place in [p for p in self._names if p < oldest]:
            blobs |= dict.fromkeys(self._names.pop(place))
        if not self._fresh:
            return blobs
        ids, buckets = (np.concatenate(parts) for parts in zip(*self._fresh, strict=True))
        self._fresh = []
        kept = np.flatnonzero(buckets >= oldest)
        if not len(kept):
            return blobs
        kept = kept[np.argsort(buckets[kept], kind="stable")]
        places, starts = np.unique(buckets[kept], return_index=True)
        for place, mine in zip(places.tolist(), np.split(ids[kept], starts[1:]), strict=True):
            name = f"{PREFIX}{place:012d}/{self._written:012d}"
            self._written += 1
            self._names.setdefault(place, []).append(name)
            blobs[name] = mine.tobytes()
        return blobs

    def restore(self, name: str, blob: bytes) -> None:
        """Take back a blob of an earlier run."""
        place, number = (int(part) for part in name.removeprefix(PREFIX).split("/"))
        ids = np.frombuffer(blob, dtype=np.uint64)
        self._make_room(len(ids), 0)
        buckets = np.full(len(ids), place, dtype=np.int64)
        self._count += _remember(ids, buckets, self._slot_id, self._slot_bucket, self._bits)
        self._names.setdefault(place, []).append(name)
        self._written = max(self._written, number + 1)

    def _oldest(self, watermark: int) -> int:
        return watermark // self._span - BUCKETS

    def _make_room(self, more: int, oldest: int) -> None:
        """Grow for `more` ids, leaving behind what is older than bucket `oldest`."""
        if (self._count + more) * 2 <= 1 << self._bits:
            return
        young = np.flatnonzero(self._slot_bucket >= max(oldest, 0))
        ids, buckets = self._slot_id[young], self._slot_bucket[young]
        # a quarter full, so that the next time is as far away as there are ids now
        self._reset(max(FIRST_BITS, int((len(ids) + more) * 4 - 1).bit_length()))
        self._count = _remember(ids, buckets, self._slot_id, self._slot_bucket, self._bits)

    def _reset(self, bits: int) -> None:
        self._bits, self._count = bits, 0
        self._slot_id = np.zeros(1 << bits, dtype=np.uint64)
        self._slot_bucket = np.full(1 << bits, _EMPTY, dtype=np.int64)


@numba.njit(cache=True, nogil=True)
def _find(wanted, slot_id, slot_bucket, bits):
    mask = (1 << bits) - 1
    at = np.int64((wanted * _MIX) >> np.uint64(64 - bits))
    while slot_bucket[at] != _EMPTY and slot_id[at] != wanted:
        at = (at + 1) & mask
    return at


@numba.njit(cache=True, nogil=True)
def _see(ids, times, watermark, span, slot_id, slot_bucket, bits):
    """Repeats (bool [N]), remembered events (bool [N]), slots filled, events too old to check."""
    repeats = np.zeros(len(ids), dtype=np.bool_)
    fresh = np.zeros(len(ids), dtype=np.bool_)
    added, unchecked, newest = 0, 0, watermark
    for n in range(len(ids)):
        newest = max(newest, times[n])
        oldest = newest // span - BUCKETS
        bucket = times[n] // span
        if bucket < oldest:
            unchecked += 1
            continue
        at = _find(ids[n], slot_id, slot_bucket, bits)
        if slot_bucket[at] != _EMPTY and slot_bucket[at] >= oldest:
            repeats[n] = True
            continue
        added += slot_bucket[at] == _EMPTY
        slot_id[at] = ids[n]
        slot_bucket[at] = bucket
        fresh[n] = True
    return repeats, fresh, added, unchecked


@numba.njit(cache=True, nogil=True)
def _remember(ids, buckets, slot_id, slot_bucket, bits):
    """Enter ids with their buckets, the newer one of two; returns how many were not there."""
    added = 0
    for n in range(len(ids)):
        at = _find(ids[n], slot_id, slot_bucket, bits)
        added += slot_bucket[at] == _EMPTY
        slot_id[at] = ids[n]
        slot_bucket[at] = max(slot_bucket[at], buckets[n])
    return added
