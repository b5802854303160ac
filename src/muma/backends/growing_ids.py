"""Raw ids in an append-only file of blocks: the vocabulary of a stream, on disk before its events.

An id's index is its place in the file; one that is forgotten leaves a word in its place that no id
can be. Ids stay integers while every id is one; the first new text
id turns all of them into text, as in `Vocabulary`. New ids are drafts until they are published; a
restart keeps whole drafts, since an id without events does no harm.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from muma.backends.blocks import (
    Flaw,
    Head,
    Heads,
    Piece,
    block,
    publish,
    published,
    sync_folder,
    verdict,
    write_all,
)
from muma.errors import DataError, StreamError
from muma.events.vocabulary import ABSENT, INDEX, Vocabulary, forgotten_word

LONGEST_ID = 512  # bytes, as in the ingestion of files
WHOLE, TEXT = 0, 1  # tags of a block: int64, or lengths (uint32) and UTF-8
IDS_A_BLOCK = 1 << 20
MOST_CHUNKS = 64  # of the series of ids before it is made one piece again


@dataclass(frozen=True)
class Mark:
    """A state to come back to: drafts, bytes, and whether ids are text."""

    drafts: int
    size: int
    text: bool


class GrowingIds:
    """The ids of one file. One thread at a time may change it; `vocabulary` is for any thread.

    Args:
        path: the file; made when it is missing and `writable`.
        column: column that the ids are of, for messages.
        writable: cut off what a killed writer left, and allow `grow`.

    Raises:
        StreamError: the file is damaged.
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path, *, column: str, writable: bool) -> None:
        self._path = path
        self._column = column
        self._writable = writable
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY, 0o644)
        self._lock = threading.Lock()
        self._ids = pl.Series("id", [], dtype=pl.Int64)  # the published ones
        self._size = 0  # bytes of the file that are taken in
        self._drafts: list[tuple[int, list[int] | list[str]]] = []
        self._index: dict[int | str, int] = {}  # of a writer: published ids and drafts
        self._view: Vocabulary | None = None
        try:
            if writable:
                self._recover()
            self._load()
        except BaseException:
            os.close(self._fd)
            raise
        if writable:
            self._index = _numbered(self._ids.to_list())
        self._durable = self.mark()

    def close(self) -> None:
        """Release the file."""
        os.close(self._fd)

    @property
    def vocabulary(self) -> Vocabulary:
        """All published ids, as they stand now; it does not change when the file grows."""
        with self._lock:
            if not self._writable:
                self._load()
            if self._view is None or len(self._view) != len(self._ids):
                self._view = _View(self._ids, self._index if self._writable else None)
            return self._view

    def find(self, raw: pl.Series) -> tuple[np.ndarray, list[int] | list[str]]:
        """Look ids up without adding any.

        Args:
            raw: Int64 or String, may have nulls, shape [n].

        Returns:
            Indices (UInt32, `ABSENT` where null or new, shape [n]) and the new ids in order of
            first appearance.

        Raises:
            DataError: a new id is empty, longer than 512 bytes, or holds a NUL.
        """
        text = self._ids.dtype == pl.String
        if text and raw.dtype == pl.Int64:
            raw = raw.cast(pl.String)
        values = raw.to_list()
        if not text and raw.dtype == pl.String:
            values = [value if value is None else _as_integer(value) for value in values]
        found = _looked_up(self._index, values)
        new: dict[int | str, None] = {}
        for row in np.flatnonzero(found == ABSENT).tolist():
            if (value := values[row]) is None:
                continue
            clean = value if isinstance(value, int) else self._clean(value, row)
            clean = clean if text or isinstance(clean, int) else _as_integer(clean)
            if (known := self._index.get(clean)) is None:
                new[clean] = None
            else:
                found[row] = known
        if raw.dtype == pl.String:
            return found, [str(value) for value in new]
        return found, [value for value in new if isinstance(value, int)]

    def grow(self, new: list[int] | list[str]) -> None:
        """Append new ids as a draft.

        Raises:
            OSError: the disk is full or refuses; `restore` a mark then.
        """
        for begin in range(0, len(new), IDS_A_BLOCK):
            part = new[begin : begin + IDS_A_BLOCK]
            if isinstance(part[0], str) and self._ids.dtype != pl.String:
                self._turn_into(pl.String)
            first = len(self._index)
            tag, payload = _encoded(part)
            pieces = block(payload, count=len(part), first=first, tag=tag)
            self._drafts.append((self._size, part))
            self._index.update(zip(part, range(first, first + len(part)), strict=True))
            self._size = write_all(self._fd, pieces, self._size)

    def mark(self) -> Mark:
        """The present state."""
        return Mark(len(self._drafts), self._size, self._ids.dtype == pl.String)

    def restore(self, mark: Mark) -> None:
        """Forget the drafts since `mark`, in memory and on disk."""
        for _, part in reversed(self._drafts[mark.drafts :]):
            for value in part:
                self._index.pop(value, None)
        del self._drafts[mark.drafts :]
        if self._size != mark.size or os.fstat(self._fd).st_size > mark.size:
            os.ftruncate(self._fd, mark.size)
            self._size = mark.size
        if (self._ids.dtype == pl.String) != mark.text:
            self._turn_into(pl.Int64)

    def forget_drafts(self) -> None:
        """Forget all drafts."""
        self.restore(self._durable)

    def write_out(self, mark: Mark, *, sync: bool) -> None:
        """Make the drafts up to `mark` durable, then visible to readers; `published` must follow.

        Raises:
            OSError: the disk refuses.
        """
        if mark.drafts:
            if sync:
                os.fdatasync(self._fd)
            for at, _ in self._drafts[: mark.drafts]:
                publish(self._fd, at)

    def published(self, mark: Mark) -> None:
        """Note that the drafts up to `mark` were written out."""
        fresh = [value for _, part in self._drafts[: mark.drafts] for value in part]
        del self._drafts[: mark.drafts]
        if fresh:
            with self._lock:
                self._extend(pl.Series("id", fresh, dtype=self._ids.dtype))
        self._durable = Mark(0, mark.size, mark.text)

    def forget(self, index: int) -> bool:
        """Put a word that no id can be in the place of one; False when it is forgotten already.

        The file is written anew and renamed; there must be no drafts.

        Raises:
            OSError: the disk is full or refuses; the file is as it was.
        """
        if not 0 <= index < len(self._ids) or self._ids[index] in forgotten_word(index):
            return False
        draft = self._path.with_name(f".{self._path.name}.draft")
        try:
            fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                self._copy_without(fd, index)
                os.fsync(fd)
            except BaseException:
                os.close(fd)
                raise
            draft.replace(self._path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        sync_folder(self._path.parent)
        os.close(self._fd)
        self._fd = fd
        with self._lock:
            self._begin_anew()
            self._index = _numbered(self._ids.to_list())
        self._durable = self.mark()
        return True

    def _copy_without(self, target: int, index: int) -> None:
        to = 0
        for head in _walk(self._fd, self._size):
            if isinstance(head, Flaw):
                break
            pieces: list[Piece] = [os.pread(self._fd, head.end - head.at, head.at)]
            if head.first <= index < head.first + head.count:
                ids = _decoded(os.pread(self._fd, head.payload, head.begin), head).to_list()
                ids[index - head.first] = forgotten_word(index)[isinstance(ids[0], str)]
                tag, payload = _encoded(ids)
                pieces = published(block(payload, count=len(ids), first=head.first, tag=tag))
            to = write_all(target, pieces, to)

    def _begin_anew(self) -> None:
        self._ids, self._size = pl.Series("id", [], dtype=pl.Int64), 0
        self._view = None
        self._load()

    def _clean(self, value: str, row: int) -> str:
        clean = value.strip()
        if not clean or "\0" in clean or len(clean.encode()) > LONGEST_ID:
            raise DataError(
                f"row {row} (from 0), column {self._column!r}: {value[:40]!r} is not a usable id; "
                f"an id is an integer or 1 to {LONGEST_ID} bytes of text without NUL"
            )
        return clean

    def _turn_into(self, kind: type[pl.DataType]) -> None:
        with self._lock:
            turn = str if kind == pl.String else int
            self._ids = self._ids.cast(kind)
            self._drafts = [(at, [turn(v) for v in part]) for at, part in self._drafts]  # pyright: ignore[reportAttributeAccessIssue]
            self._view = None
            fresh = [value for _, part in self._drafts for value in part]
            self._index = _numbered([*self._ids.to_list(), *fresh])

    def _extend(self, fresh: pl.Series) -> None:
        if fresh.dtype != self._ids.dtype:
            fresh, self._ids = fresh.cast(pl.String), self._ids.cast(pl.String)
        self._ids = pl.concat([self._ids, fresh], rechunk=self._ids.n_chunks() > MOST_CHUNKS)

    def _load(self) -> None:
        """Take in the blocks that were published since the last time."""
        if not os.fstat(self._fd).st_nlink:  # the writer has forgotten an id
            fd, self._fd = self._fd, os.open(self._path, os.O_RDONLY)
            os.close(fd)
            self._begin_anew()
            return
        size = os.fstat(self._fd).st_size
        heads = Heads(self._fd, size)
        parts = []
        while not isinstance(head := heads.at(self._size), Flaw) and head.live:
            payload = os.pread(self._fd, head.payload, head.begin)
            if not head.holds(payload):
                raise self._damage(self._size)
            parts.append(_decoded(payload, head))
            self._size = head.end
        if parts:
            text = any(part.dtype == pl.String for part in parts)
            self._extend(pl.concat([p.cast(pl.String) for p in parts] if text else parts))
        if head is Flaw.DAMAGED:
            raise self._damage(self._size)

    def _recover(self) -> None:
        """Publish whole drafts and cut off what a killed writer left half written."""
        at, size = 0, os.fstat(self._fd).st_size
        for head in _walk(self._fd, size):
            if head is Flaw.DAMAGED:
                raise self._damage(at)
            if isinstance(head, Flaw):
                os.ftruncate(self._fd, at)
                break
            if not head.live:
                publish(self._fd, head.at)
            at = head.end
        os.fsync(self._fd)

    def _damage(self, at: int) -> StreamError:
        return StreamError(
            f"{self._path} is damaged at byte {at}: {len(self._ids)} ids before it are whole. "
            "Events are numbered by it: restore this file from a copy (a longer one does no harm)"
        )


class _View(Vocabulary):
    """A vocabulary that looks ids up in the index of the writer, which may know more ids."""

    def __init__(self, ids: pl.Series, index: dict[int | str, int] | None) -> None:
        super().__init__(ids)
        self._shared = index

    def add(self, raw: pl.Series) -> pl.Series:
        """Index of every raw id; new ones are known to this view only."""
        self._shared = None
        return super().add(raw)

    def index(self, raw: str) -> int:
        """See `Vocabulary.index`; here without tables."""
        if self._shared is None:
            return super().index(raw)
        key = _as_integer(raw) if self.ids.dtype == pl.Int64 else raw
        found = self._shared.get(key, len(self))
        return found if found < len(self) else super().index(raw)  # which says what is wrong

    def _lookup(self, raw: pl.Series) -> pl.Series:
        if self._shared is None:
            return super()._lookup(raw)
        index = pl.Series("index", _looked_up(self._shared, raw.to_list()), dtype=INDEX)
        return index.set(index >= len(self), None)


def _walk(fd: int, size: int) -> Iterator[Head | Flaw]:
    """Blocks from the start, checked whole, and the flaw that ends them."""
    at = 0
    while True:
        head = verdict(fd, at, size)
        yield head
        if isinstance(head, Flaw):
            return
        at = head.end


def _numbered(values: Sequence[int | str]) -> dict[int | str, int]:
    return dict(zip(values, range(len(values)), strict=True))


def _looked_up(index: dict[Any, int], values: list[Any]) -> np.ndarray:
    return np.fromiter(map(index.get, values, repeat(ABSENT)), np.uint32, len(values))


def _as_integer(text: str) -> int | str:
    """The integer that `text` spells in the plain way, or `text`."""
    if not text.removeprefix("-").isdecimal() or not text.isascii() or len(text) > 20:
        return text
    value = int(text)
    return value if str(value) == text and -(2**63) <= value < 2**63 else text


def _encoded(ids: list[int] | list[str]) -> tuple[int, bytes]:
    if isinstance(ids[0], int):
        return WHOLE, np.asarray(ids, dtype="<i8").tobytes()
    texts = [str(value).encode() for value in ids]
    lengths = np.fromiter(map(len, texts), "<u4", len(texts))
    return TEXT, lengths.tobytes() + b"".join(texts)


def _decoded(payload: bytes, head: Head) -> pl.Series:
    if head.tag == WHOLE:
        return pl.Series("id", np.frombuffer(payload, dtype="<i8"))
    offsets = np.zeros(head.count + 1, dtype=np.int64)
    np.cumsum(np.frombuffer(payload, dtype="<u4", count=head.count), out=offsets[1:])
    text = pa.py_buffer(payload).slice(4 * head.count)
    array = pa.LargeStringArray.from_buffers(head.count, pa.py_buffer(offsets), text)
    return pl.Series("id", array)
