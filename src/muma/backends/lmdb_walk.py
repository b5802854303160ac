"""Many records of one table in one compiled walk over the file's pages, without LMDB's binding.

The binding lets other threads run at every single key, and a busy thread does not hand back for a
fifth of a millisecond: reading two hundred records beside one costs forty. Here the keys' text is
written, the B+tree is searched and the records are gathered in one call. A read transaction of LMDB's
stays open meanwhile, so that no page it can reach is written again; from it comes the table's root.

Shape: N keys.
"""

from __future__ import annotations

import mmap
import os
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from muma.backends.lmdb_keys import KeyText
from muma.backends.lmdb_walk_kernel import DAMAGED, FINE, find, gather
from muma.errors import StoreError
from muma.features.store import Records

EMPTY = 2**64 - 1
"""Root of a tree without keys."""


@dataclass(frozen=True)
class KeyParts:
    """A table's keys as bytes around their numbers: `USER:` 7 `:CATEGORY:` 3 `:FEATURES`."""

    head: np.ndarray
    middle: np.ndarray
    tail: np.ndarray
    pair: bool

    @staticmethod
    @cache
    def of(text: KeyText) -> KeyParts:
        """Take a pattern apart.

        Example:
            >>> parts = KeyParts.of(KeyText.of("user x category"))
            >>> [bytes(part) for part in (parts.head, parts.middle, parts.tail)]
            [b'USER:', b':CATEGORY:', b':FEATURES']
        """
        head, *rest = text.pattern.split(b"%d")
        first, middle, tail = (
            np.frombuffer(part, dtype=np.uint8) for part in (head, rest[0], rest[-1])
        )
        return KeyParts(first, middle, tail, text.pair)


class Pages:
    """A data file, mapped for reading; safe for several threads.

    Args:
        data: the file.
        inode: of the file that LMDB has open.
        size: of a page, bytes.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, data: Path, *, inode: int, size: int) -> None:
        self._data, self._inode, self.size = data, inode, size
        self._lock = threading.Lock()
        self._bytes = np.zeros(0, dtype=np.uint8)

    def get(self, root: int, parts: KeyParts, keys: np.ndarray) -> Records | None:
        """Records of `keys` (uint64 [N]) under a table's root; None when the file is another one by now.

        Raises:
            StoreError: a page is not what its place says.
        """
        if root == EMPTY:
            return Records.of([None] * len(keys))
        starts, lengths = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
        held = self._bytes
        for again in (False, True):
            if again or not len(held):
                mapped = self._map()
                if mapped is None:
                    return None
                held = mapped
            state, total = find(
                held, root, self.size, keys, parts.head, parts.middle, parts.tail, parts.pair,
                starts, lengths,
            )  # fmt: skip
            if state == FINE:
                data = np.empty(total, dtype=np.uint8)
                gather(held, starts, lengths, data)
                return Records(data, starts, lengths)
            if state == DAMAGED:
                break
        raise StoreError(f"{self._data} is damaged under the root page {root}")

    def _map(self) -> np.ndarray | None:
        """The file as it is now; it grows."""
        with self._lock:
            fd = os.open(self._data, os.O_RDONLY)
            try:
                if os.fstat(fd).st_ino != self._inode:
                    return None
                whole = mmap.mmap(fd, 0, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
            finally:
                os.close(fd)
            self._bytes = np.frombuffer(whole, dtype=np.uint8)
            return self._bytes
