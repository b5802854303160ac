"""Blank the events of one user in a segment: the file is written anew beside, and renamed.

An event keeps its place, so that offsets stay, and all its columns become null; blocks without one
are copied as they are. The new file holds no byte of what was blanked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa

from muma.backends.blocks import (
    Flaw,
    Head,
    block,
    published,
    sync_folder,
    verdict,
    write_all,
)
from muma.backends.segments import Damaged, read_prologue
from muma.events.vocabulary import ABSENT


def blank_segment(
    path: Path, index: int, size: int, *, kinds: Collection[str] | None = None
) -> tuple[int, int]:
    """Blank the events of the user with a dense index.

    Args:
        path: of the segment.
        index: of the user.
        size: bytes of it that are acknowledged; what lies behind is left out of the new file.
        kinds: only events of these kinds; None blanks all.

    Returns:
        How many events were blanked, and the bytes of the file now. With none, nothing was written.

    Raises:
        StreamError: a block is damaged; the file is as it was.
        OSError: the disk is full or refuses; the file is as it was.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        schema, begin = read_prologue(fd, path)
        codes = None if kinds is None else _codes(schema, kinds)
        heads = list(_heads(fd, path, begin, size))
        found = {head.at: _rows(fd, head, schema, index, codes) for head in heads}
        count = sum(int(mask.sum()) for mask in found.values())
        if not count:
            return 0, size
        draft = path.with_name(f".{path.name}.draft")
        try:
            size = _write(fd, draft, heads, found, schema, begin)
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    finally:
        os.close(fd)
    sync_folder(path.parent)
    return count, size


def _heads(fd: int, path: Path, at: int, size: int) -> list[Head]:
    heads: list[Head] = []
    while at < size:
        head = verdict(fd, at, size)
        if isinstance(head, Flaw):
            raise Damaged(path, at, heads[-1].first + heads[-1].count if heads else int(path.stem))
        heads.append(head)
        at = head.end
    return heads


def _batch(fd: int, head: Head, schema: pa.Schema) -> pa.RecordBatch:
    return pa.ipc.read_record_batch(pa.py_buffer(os.pread(fd, head.payload, head.begin)), schema)


def _codes(schema: pa.Schema, kinds: Collection[str]) -> list[int]:
    """What kinds of event are called in a segment."""
    written = json.loads(schema.metadata[b"kind"])
    return [code for code, name in enumerate(written) if name in kinds]


def _rows(
    fd: int, head: Head, schema: pa.Schema, index: int, codes: list[int] | None
) -> np.ndarray:
    """Which events of a block are the user's, and of the kinds, bool [n]."""
    batch = _batch(fd, head, schema)
    users = batch.column("user_id")
    mine = users.fill_null(ABSENT).to_numpy(zero_copy_only=False) == index
    if codes is None:
        return mine
    kind = batch.column("kind").fill_null(255).to_numpy(zero_copy_only=False)
    return mine & np.isin(kind, codes)


def _write(
    fd: int,
    draft: Path,
    heads: list[Head],
    found: dict[int, np.ndarray],
    schema: pa.Schema,
    begin: int,
) -> int:
    target = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        at = write_all(target, [os.pread(fd, begin, 0)], 0)
        for head in heads:
            mask = found[head.at]
            if mask.any():
                payload = _blanked(_batch(fd, head, schema), mask).serialize()
                pieces = block(
                    memoryview(payload), count=head.count, first=head.first, stamp=head.stamp
                )
                at = write_all(target, published(pieces), at)
            else:
                at = write_all(target, [os.pread(fd, head.end - head.at, head.at)], at)
        os.fsync(target)
    finally:
        os.close(target)
    return at


def _blanked(batch: pa.RecordBatch, mask: np.ndarray) -> pa.RecordBatch:
    # `take` lays new buffers, with zeros where there is null: the old values are not in them
    place = pa.array(np.arange(batch.num_rows), mask=mask)
    arrays = [column.take(place) for column in batch.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)
