"""Damage that must be found before LMDB meets it: reading a page that a truncated file lacks ends
the process (SIGBUS), and so does walking to a neighbour that is no leaf (an assertion).

LMDB 0.9 on disk, as far as it is looked at here: pages of equal size, of which the first two are
meta pages, written in turn. Each holds its transaction number, the last page in use, and the roots
of two trees: the free pages, and the main one whose leaves hold the roots of the named databases.
"""

from __future__ import annotations

import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lmdb import verify

from muma.errors import StoreError

RESTORE = "put the newest snapshot in its place with LmdbStore.restore(path), then replay the log"

# after a page's header (16 bytes): mm_magic, mm_version, mm_address, mm_mapsize, MDB_db of the free
# list (its md_pad holds the page size), MDB_db of the main tree, mm_last_pg, mm_txnid
_META = struct.Struct("=16xIIQQ48s48sQQ")
TREE = struct.Struct("=IHHQQQQQ")  # MDB_db: pad, flags, depth, branches, leaves, overflow, n, root
_MAGIC, _FORMAT = 0xBEEFC0DE, 1
_BRANCH, _LEAF = 1, 2
_HEADER, _NODE = 16, 8  # bytes before a page's node offsets, and before a node's key
_NAMED = 2  # flag of a node that holds the MDB_db of a named database
_NOTHING = 2**64 - 1  # root of an empty tree
_SECOND_LOOKS = 5


@dataclass(frozen=True)
class Meta:
    """The newest commit, as LMDB's own meta page tells it."""

    page: int  # bytes
    last: int  # number of the last page in use
    txnid: int
    trees: tuple[bytes, bytes]


def check_data(data: Path, *, writer: bool) -> None:
    """Make sure that a data file can be opened without harm: that it is whole, and that every page
    of its trees is what it should be (0.3 s for 500 MB in memory).

    Args:
        data: an existing LMDB data file.
        writer: nobody else writes it; a file that is too short is then looked through.

    Raises:
        StoreError: it is truncated, a page is damaged, or it is not an LMDB file.
    """
    meta = read_meta(data)
    for _ in range(_SECOND_LOOKS):
        if (lacking := pages_lacking(data)) <= 0 or writer:
            break
        time.sleep(0.02)  # a writer may be about to extend it
    else:
        lacking = pages_lacking(data)
    if lacking > 0:
        # pages that a commit took and gave back are never written, so a killed writer may leave a
        # file that is short and whole
        if not writer or _problems(data):
            raise StoreError(f"{data} is truncated: it lacks its last {lacking} pages; {RESTORE}")
        extend(data)
    bad = _damaged_page(data, meta)
    # a writer at work may have used the pages again; it looked at them when it opened the file
    if bad is not None and read_meta(data).txnid == meta.txnid:
        raise StoreError(f"{data} is damaged at page {bad}; {RESTORE}")


def extend(data: Path) -> None:
    """Let the file reach to its last used page, so that a truncated one can be told from it."""
    lacking = pages_lacking(data)
    if lacking > 0:
        os.truncate(data, data.stat().st_size + lacking * read_meta(data).page)


def pages_lacking(data: Path) -> int:
    """Pages that the newest commit counts and the file does not hold.

    Raises:
        StoreError: its meta pages are damaged, or it is not an LMDB file.
    """
    meta = read_meta(data)
    return meta.last + 1 - data.stat().st_size // meta.page


def read_meta(data: Path) -> Meta:
    """Read the newer meta page.

    Raises:
        StoreError: a meta page is damaged, or it is not an LMDB file.
    """
    try:
        with data.open("rb") as stream:
            first = _META.unpack(stream.read(_META.size))
            page = TREE.unpack(first[4])[0]
            stream.seek(page)
            second = _META.unpack(stream.read(_META.size))
    except struct.error:
        raise StoreError(
            f"{data} is truncated: it has no two whole meta pages; {RESTORE}"
        ) from None
    except OSError as error:
        raise StoreError(f"{data} cannot be read: {error.strerror}") from error
    for magic, version, _, _, free, _, _, _ in (first, second):
        size = TREE.unpack(free)[0]
        if (magic, version, size) != (_MAGIC, _FORMAT, page) or page < 512 or page & (page - 1):
            raise StoreError(
                f"{data} has a damaged meta page, or is not an LMDB 0.9 file; {RESTORE}"
            )
    _, _, _, _, free, main, last, txnid = max(first, second, key=lambda meta: meta[7])
    return Meta(page, last, txnid, (free, main))


def _problems(data: Path) -> list[str]:
    """What LMDB's own, thorough and slow, verifier finds."""
    try:
        return verify.verify(str(data.parent))
    except verify.VerifyError as error:
        return [str(error)]


def _damaged_page(data: Path, meta: Meta) -> int | None:
    """First page of a tree that is not what its place says; None when all are."""
    layout = np.dtype(
        {
            "names": ["number", "flags", "lower", "upper", "words"],
            "formats": ["u8", "u2", "u2", "u2", (np.uint16, meta.page // 2)],
            "offsets": [0, 10, 12, 14, 0],
            "itemsize": meta.page,
        }
    )
    whole = data.stat().st_size // meta.page
    pages = np.memmap(data, dtype=layout, mode="r", shape=(whole,))
    free, main = meta.trees
    bad, _ = _walk(pages, free)
    if bad is not None:
        return bad
    bad, leaves = _walk(pages, main)
    if bad is not None:
        return bad
    for number in leaves.tolist():
        for named in _named_trees(pages, number):
            bad, _ = _walk(pages, named)
            if bad is not None:
                return bad
    return None


def _walk(pages: np.ndarray, tree: bytes) -> tuple[int | None, np.ndarray]:
    """Go through a tree level by level; returns a damaged page, and the leaves."""
    _, _, depth, _, leaf_count, _, _, root = TREE.unpack(tree)
    level = np.zeros(0, dtype=np.uint64)
    if root == _NOTHING:
        return None, level
    level = np.array([root], dtype=np.uint64)
    for step in range(depth):
        leaves = step == depth - 1
        if (beyond := level[level >= len(pages)]).size:
            return int(beyond[0]), level
        lower, upper = pages["lower"][level], pages["upper"][level]
        sound = (
            (pages["number"][level] == level)
            & (pages["flags"][level] == (_LEAF if leaves else _BRANCH))
            & (lower > _HEADER)
            & (lower <= upper)
            & (upper <= pages.dtype.itemsize)
        )
        if not sound.all():
            return int(level[np.argmin(sound)]), level
        if not leaves:
            level = np.concatenate([_children(pages, number) for number in level.tolist()])
    return (None if len(level) == leaf_count else root), level


def _offsets(pages: np.ndarray, number: int) -> np.ndarray:
    """Offsets of a page's nodes, in 16-bit words."""
    end = int(pages["lower"][number]) // 2
    at = pages["words"][number][_HEADER // 2 : end] // 2
    return at[at.astype(np.int64) * 2 + _NODE <= pages.dtype.itemsize]


def _children(pages: np.ndarray, number: int) -> np.ndarray:
    at, words = _offsets(pages, number), pages["words"][number]
    low, middle, high = (words[at + i].astype(np.uint64) for i in range(3))
    return low | middle << np.uint64(16) | high << np.uint64(32)


def _named_trees(pages: np.ndarray, number: int) -> list[bytes]:
    words = pages["words"][number]
    raw, trees = words.tobytes(), []
    for at in _offsets(pages, number).tolist():
        start = 2 * at + _NODE + int(words[at + 3])
        if words[at + 2] & _NAMED and start + TREE.size <= len(raw):
            trees.append(raw[start : start + TREE.size])
    return trees
