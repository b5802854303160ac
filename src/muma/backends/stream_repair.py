"""Set damaged bytes aside, so that a stream can be written again; nothing is thrown away."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from muma.backends.blocks import sync_folder
from muma.backends.partition_reader import listed
from muma.backends.partition_writer import whole
from muma.backends.segments import Damaged, name_of
from muma.backends.stream_folder import clear_errors, read_meta, take_lock


@dataclass(frozen=True)
class SetAside:
    """Bytes that were damaged, or lay after damage.

    Attributes:
        partition: whose they were.
        offset: of the first event that was in them; the partition now ends here.
        file: where they are now.
        bytes: how many.
    """

    partition: int
    offset: int
    file: Path
    bytes: int


def repair(folder: Path) -> list[SetAside]:
    """Cut the last segment of each partition where its damage begins, and keep what is cut off.

    Only the last segments keep a stream from being written. Damage in an older one stays where it
    is; readers are told from which offset they can go on.

    Raises:
        StreamError: there is no stream, another process is writing it, or the disk refuses.
    """
    partitions = read_meta(folder)
    with clear_errors(folder), take_lock(folder):
        found = [_repaired(folder / f"p{number}", number) for number in range(partitions)]
    return [one for one in found if one is not None]


def _repaired(folder: Path, partition: int) -> SetAside | None:
    firsts = listed(folder)
    if not firsts:
        return None
    path = folder / name_of(firsts[-1])
    fd = os.open(path, os.O_RDWR)
    try:
        try:
            whole(fd, path)
        except Damaged as found:
            at, offset = found.at, found.end
        else:
            return None
        aside = _free_name(path)
        with path.open("rb") as source, aside.open("xb") as target:
            source.seek(at)
            shutil.copyfileobj(source, target)
            target.flush()
            os.fsync(target.fileno())
        sync_folder(folder)
        size = os.fstat(fd).st_size
        os.ftruncate(fd, at)
        os.fsync(fd)
    finally:
        os.close(fd)
    return SetAside(partition, offset, aside, size - at)


def _free_name(path: Path) -> Path:
    names = (path.with_name(f"{path.name}.damaged-{number}") for number in count(1))
    return next(name for name in names if not name.exists())
