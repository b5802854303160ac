"""What is old goes: whole sealed segments, the oldest first."""

from __future__ import annotations

from pathlib import Path

from muma.artifact import flush
from muma.serving.evidence.segments import (
    Index,
    held,
    housekeeping,
    listed,
    sealed,
)


def drop_old(folder: Path, *, oldest: int | None, most_bytes: int | None) -> int:
    """Remove sealed segments whose last decision is before `oldest`, or that are too much in all.

    Args:
        folder: of the log.
        oldest: UTC microseconds; None removes nothing by age.
        most_bytes: of all segments together; None removes nothing by size.

    Returns:
        How many segments were removed.

    Raises:
        OSError: the disk refuses.
    """
    if oldest is None and most_bytes is None:
        return 0
    with held(housekeeping(folder)):
        total, full = 0, []
        for place in listed(folder):
            size = place.data(folder).stat().st_size
            total += size
            if sealed(folder, place):
                index = Index.load(folder, place) or Index.of(place.data(folder))
                full.append((index.last, place, size))
        gone = 0
        for last, place, size in sorted(full):
            if (oldest is not None and last < oldest) or (
                most_bytes is not None and total > most_bytes
            ):
                # the index last: without one, a segment would count as open
                place.data(folder).unlink()
                place.index(folder).unlink()
                total -= size
                gone += 1
        if gone:
            flush(folder)
        return gone
