"""The best items of a user vector among many: inner products, exact or through faiss's inverted lists.

Up to `exact_items` every item is compared (faiss `IndexFlatIP`); above, the table is cut into lists
by k-means and only the `probes` nearest lists are looked through (`IndexIVFFlat`). What that loses is
measured when an index is built, on the very table it serves, and kept as `recall`.

An index never changes: a new table makes a new one beside it, and `LiveIndex` swaps the two in one
step, in memory and on disk. Needs the extra `ann`.

Shape: B users, K interests, D width, I items, N items asked for, Q sampled queries.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from scipy.sparse import csr_array

from muma import artifact
from muma.config import Config
from muma.errors import ArtifactError, DataError
from muma.optional import require
from muma.rng import derive
from muma.topk import NO_ITEM

KIND, VERSION = "item-index", 1
FILE, ABOUT = "items.faiss", "about.npz"


class IndexConfig(Config):
    """How items are found.

    Attributes:
        exact_items: up to so many items the search is exact.
        lists: number of inverted lists above that; None takes 4 sqrt(I).
        probes: lists that a search looks through.
        sample: queries on which recall against the exact answer is measured.
        depth: length of the lists that are compared for it.
        seed: of the clustering and of the sample.
    """

    exact_items: int = Field(default=200_000, ge=0)
    lists: int | None = Field(default=None, ge=1)
    probes: int = Field(default=32, ge=1)
    sample: int = Field(default=256, ge=1)
    depth: int = Field(default=100, ge=1)
    seed: int = Field(default=1, ge=0)


@dataclass(frozen=True)
class ItemIndex:
    """An index over a table of item vectors.

    Attributes:
        recall: part of the exact best `depth` items that it finds; 1 when it is exact.
        items: I.
        width: D.
    """

    recall: float
    items: int
    width: int
    _index: Any

    @classmethod
    def build(
        cls,
        item_ID: np.ndarray,
        config: IndexConfig | None = None,
        *,
        user_QD: np.ndarray | None = None,
    ) -> ItemIndex:
        """Index a table.

        Args:
            item_ID: float32 [I, D], the vector of each item index.
            config: how.
            user_QD: queries like those to come, for measuring recall; None takes sampled items.

        Raises:
            DataError: the table is not a matrix, is empty, or holds a value that is not finite.
            MissingExtraError: faiss is not installed.

        Example:
            >>> ItemIndex.build(np.eye(3, dtype=np.float32)).search(np.array([[0.0, 2, 1]]), 2)[0]
            array([[1, 2]])
        """
        config = config or IndexConfig()
        item_ID = _matrix(item_ID, "item vectors")
        faiss = require("faiss", extra="ann")
        count, width = item_ID.shape
        exact = faiss.IndexFlatIP(width)
        exact.add(item_ID)
        if count <= config.exact_items:
            return cls(1.0, count, width, exact)
        lists = min(config.lists or max(int(4 * math.sqrt(count)), 1), count)
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT
        )
        index.cp.seed = config.seed
        index.train(item_ID)
        index.add(item_ID)
        index.nprobe = min(config.probes, lists)
        if user_QD is None:
            rng = derive(config.seed, "item index", "recall")
            user_QD = item_ID[rng.choice(count, min(config.sample, count), replace=False)]
        depth = min(config.depth, count)
        query_QD = _matrix(user_QD, "user vectors")[: config.sample]
        truth_QN = exact.search(query_QD, depth)[1]
        found_QN = index.search(query_QD, depth)[1]
        hits = [len(np.intersect1d(t, f)) for t, f in zip(truth_QN, found_QN, strict=True)]
        return cls(float(np.mean(hits) / depth), count, width, index)

    def search(
        self, user_BD: np.ndarray, n: int, *, exclude: csr_array | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Best `n` items of each user, best first.

        Args:
            user_BD: float [B, D], or [B, K, D]: an item then counts by its best interest.
            n: length of each list, at least 0.
            exclude: boolean [B, I], items not to return.

        Returns:
            item_BN, int64, padded with -1, and score_BN, float32, padded with -inf.

        Raises:
            DataError: a vector has another width or a value that is not finite, or `exclude`
                another shape.
        """
        user_BKD = np.asarray(user_BD, dtype=np.float32)
        user_BKD = user_BKD[:, None] if user_BKD.ndim == 2 else user_BKD
        if user_BKD.ndim != 3 or user_BKD.shape[2] != self.width:
            raise DataError(
                f"user vectors have shape {np.shape(user_BD)}; the items' width is {self.width}"
            )
        count, interests, _ = user_BKD.shape
        if exclude is not None and exclude.shape != (count, self.items):
            raise DataError(f"exclude has shape {exclude.shape}, not {(count, self.items)}")
        item_BN = np.full((count, n), NO_ITEM, dtype=np.int64)
        score_BN = np.full((count, n), -np.inf, dtype=np.float32)
        if not n or not count:
            return item_BN, score_BN
        query_XD = _matrix(user_BKD.reshape(-1, self.width), "user vectors")
        dropped_B = np.zeros(count, int) if exclude is None else np.diff(exclude.indptr)
        fetched = min(n + int(dropped_B.max()), self.items)
        score_XN, item_XN = self._index.search(query_XD, fetched)
        score_BX = score_XN.reshape(count, interests * fetched)
        item_BX = item_XN.reshape(count, interests * fetched).astype(np.int64)
        for b in range(count):
            order = np.lexsort((item_BX[b], -score_BX[b]))
            item, score = item_BX[b, order], score_BX[b, order]
            keep = item >= 0
            if exclude is not None:
                keep &= ~np.isin(item, _row(exclude, b))
            item, score = item[keep], score[keep]
            if interests > 1:
                first = np.sort(np.unique(item, return_index=True)[1])
                item, score = item[first], score[first]
            item_BN[b, : len(item[:n])], score_BN[b, : len(item[:n])] = item[:n], score[:n]
        return item_BN, score_BN

    def save(self, writer: artifact.Writer) -> None:
        """Write the index as files of an artifact."""
        require("faiss", extra="ann").write_index(self._index, str(writer.path(FILE)))
        writer.arrays(ABOUT, {"recall": np.array(self.recall)})

    @classmethod
    def load(cls, stored: artifact.Artifact) -> ItemIndex:
        """Read what `save` wrote."""
        faiss = require("faiss", extra="ann")
        path = stored.path(FILE)
        try:
            index = faiss.read_index(str(path))
        except RuntimeError as error:
            raise ArtifactError(f"{path} is no index that faiss can read: {error}") from None
        return cls(float(stored.arrays(ABOUT)["recall"]), index.ntotal, index.d, index)


class LiveIndex:
    """The index in use, rebuilt beside the old one and swapped whole.

    Searches go on with the old index until the new one is ready; a process that dies while
    rebuilding leaves the old one on disk. Threads may share it.

    Args:
        folder: artifact folder; an index that lies there is opened.
        config: how indexes are built.
    """

    def __init__(self, folder: str | Path, config: IndexConfig | None = None) -> None:
        self.folder, self.config = Path(folder), config or IndexConfig()
        self._building = threading.Lock()
        self._current = self._open() if artifact.exists(self.folder) else None

    @property
    def index(self) -> ItemIndex:
        """The index in use.

        Raises:
            ArtifactError: there is none yet.
        """
        if self._current is None:
            raise ArtifactError(f"{self.folder} holds no item index; call rebuild first")
        return self._current

    def rebuild(self, item_ID: np.ndarray, *, user_QD: np.ndarray | None = None) -> ItemIndex:
        """Build from a new table, put it on disk, then use it; see `ItemIndex.build`."""
        with self._building:
            made = ItemIndex.build(item_ID, self.config, user_QD=user_QD)
            with artifact.write(
                self.folder, kind=KIND, version=VERSION, config=self.config.model_dump()
            ) as writer:
                made.save(writer)
            self._current = made
        return made

    def refresh(self) -> ItemIndex:
        """Use what another process has put on disk since."""
        with self._building:
            self._current = self._open()
        return self._current

    def _open(self) -> ItemIndex:
        while True:
            found = self._swapped()
            try:
                return ItemIndex.load(artifact.read(self.folder, kind=KIND, version=VERSION))
            except (ArtifactError, FileNotFoundError):
                if self._swapped() == found:  # or else another process swapped it meanwhile
                    raise

    def _swapped(self) -> tuple[int, int]:
        """What changes with every swap."""
        path = self.folder / artifact.MANIFEST
        if not path.exists():
            return 0, 0
        about = path.stat()
        return about.st_ino, about.st_mtime_ns


def _matrix(vectors: np.ndarray, what: str) -> np.ndarray:
    found = np.ascontiguousarray(vectors, dtype=np.float32)
    if found.ndim != 2 or not found.size:
        raise DataError(f"{what} have shape {found.shape}; they must be a matrix that is not empty")
    if not np.isfinite(found).all():
        raise DataError(f"{what} hold values that are not finite (row {_bad_row(found)})")
    return found


def _bad_row(found: np.ndarray) -> int:
    return int(np.flatnonzero(~np.isfinite(found).all(axis=1))[0])


def _row(exclude: csr_array, b: int) -> np.ndarray:
    begin, end = exclude.indptr[b], exclude.indptr[b + 1]
    return exclude.indices[begin:end][exclude.data[begin:end].astype(bool)]
