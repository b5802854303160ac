"""The folder of a stream: what makes it one, and who may write it.

folder/
├── meta.json      format and number of partitions; written last, so it makes the stream
├── .lock          held by the one writer
├── users.ids, items.ids
└── p0/ p1/ ...    the segments of each partition
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from muma.backends.blocks import sync_folder
from muma.backends.growing_ids import GrowingIds
from muma.errors import StreamError
from muma.events.vocabulary import Vocabulary

FORMAT = 1
META = "meta.json"
DRAFT = f"{META}.draft"
LOCK = ".lock"
IDS = {"user_id": "users.ids", "item_id": "items.ids"}


@contextmanager
def clear_errors(what: Path) -> Iterator[None]:
    """Turn a refusal of the operating system into a StreamError."""
    try:
        yield
    except OSError as error:
        where = what if error.filename is None else error.filename
        raise StreamError(
            f"{where}: {error.strerror}; make room or mend the permissions, or name another folder"
        ) from error


def read_meta(folder: Path) -> int:
    """Number of partitions of the stream in a folder.

    Raises:
        StreamError: there is no stream, or one of another format.
    """
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        form, partitions = meta["format"], meta["partitions"]
    except (FileNotFoundError, NotADirectoryError):
        raise StreamError(f"{folder} is no event stream: it has no {META}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StreamError(
            f"{folder / META} is damaged ({error}); restore it: "
            f'{{"format": {FORMAT}, "partitions": <number of folders p0, p1, ...>}}'
        ) from None
    if form != FORMAT or not isinstance(partitions, int) or partitions < 1:
        raise StreamError(
            f"{folder}: the stream has the format {form!r} with {partitions!r} partitions; this "
            f"version reads format {FORMAT}"
        )
    return partitions


def take_lock(folder: Path) -> FileIO:
    """Become the writer; the lock lasts until the returned file is closed.

    Raises:
        StreamError: another process is writing.
        OSError: the folder cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stream = FileIO(folder / LOCK, "a")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise StreamError(
            f"{folder}: another process is writing this stream; stop it, or open the stream with "
            "readonly = true"
        ) from None
    return stream


def make(
    folder: Path,
    *,
    partitions: int,
    user_ids: Vocabulary | None = None,
    item_ids: Vocabulary | None = None,
) -> None:
    """Make an empty stream in a folder whose lock is held; what a killed `make` left is replaced.

    Raises:
        StreamError: the folder holds something else.
        OSError: the disk is full or refuses.
    """
    numbers = {f"p{number}" for number in range(partitions)}
    for entry in sorted(folder.iterdir()):
        ours = entry.name in {LOCK, DRAFT, *IDS.values()}
        unused = entry.name in numbers and entry.is_dir() and not any(entry.iterdir())
        if not ours and not unused:
            raise StreamError(
                f"{folder} is no event stream (it has no {META}) and not empty: {entry.name} is "
                "there; choose another folder"
            )
    for (column, name), seed in zip(IDS.items(), (user_ids, item_ids), strict=True):
        (folder / name).unlink(missing_ok=True)
        ids = GrowingIds(folder / name, column=column, writable=True)
        try:
            if seed is not None and len(seed):
                ids.grow(seed.ids.to_list())
            ids.write_out(ids.mark(), sync=True)
        finally:
            ids.close()
    for name in numbers:
        (folder / name).mkdir(exist_ok=True)
    draft = folder / DRAFT
    with draft.open("w", encoding="utf-8") as stream:
        json.dump({"format": FORMAT, "partitions": partitions}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(folder / META)
    sync_folder(folder)
    sync_folder(folder.parent)
