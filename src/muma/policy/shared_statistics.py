"""Sufficient statistics in the feature store: added to by many workers, read by all.

An addition reads the rows of its items and writes their sums in one `StateStore.update`, between which
no other commit can come: not of another thread, nor, in a store that processes share
(`LmdbConfig.shared`), of another process. A kill at any moment leaves a batch added whole or not at all.

Feedback that names its `source` (partition and offset in a durable log) is counted once: the offset
reached is written in the same commit, and rows before it are passed over. A worker that was killed asks
`offsets()` and goes on from there.

    table <name>             item -> the row's numbers, float64
    blob  <name>/total       the row of totals
    blob  <name>/offsets     partition -> offset of the first row of feedback that is not in yet, JSON
    blob  <name>/rule        how the past is weighed, JSON: another rule is refused

Shape: N candidates, U items of a batch, W numbers a row, E feedback rows.
"""

from __future__ import annotations

import json

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.errors import StoreError
from muma.features.store import Changes, Records, Snapshot, StateStore, TableChange
from muma.policy.forgetting import Forgetting, Moments, Stationary
from muma.policy.offsets import Offsets
from muma.policy.policy import Feedback
from muma.policy.statistics import columns


class SharedStatisticsConfig(Config):
    """Where the rows lie in the store.

    Attributes:
        name: of the table, and the beginning of the blobs' names; one a policy.
    """

    name: str = Field(default="arm", pattern=r"^[a-z][a-z0-9_]{0,63}$")


class SharedStatistics:
    """`Statistics` in a `StateStore`.

    Args:
        config: where the rows lie.
        store: an open store; every read sees its last commit.
        forgetting: how the past is weighed; None: it is not.

    Example:
        >>> from muma.backends.state_memory import MemoryStore
        >>> arms = SharedStatistics(store=MemoryStore())
        >>> one = np.ones(2)
        >>> batch = Feedback(np.array([5, 5]), one, np.array([10, 20]), one, source=(0, 0))
        >>> arms.add(batch)
        >>> arms.add(batch)  # sent twice, counted once
        >>> arms.read(np.array([5, 9]), at=30)[0].count_N.tolist(), arms.offsets()
        ([2.0, 0.0], {0: 2})
    """

    def __init__(
        self,
        config: SharedStatisticsConfig = SharedStatisticsConfig(),
        *,
        store: StateStore,
        forgetting: Forgetting | None = None,
    ) -> None:
        self.config = config
        self.forgetting: Forgetting = Stationary() if forgetting is None else forgetting
        self._store, self._offsets = store, Offsets(config.name)
        kind = type(self.forgetting)
        settings = getattr(self.forgetting, "config", None)
        rule = {
            "rule": f"{kind.__module__}.{kind.__qualname__}",
            "settings": {} if settings is None else settings.model_dump(mode="json"),
        }
        self._rule = json.dumps(rule, sort_keys=True).encode()

    @property
    def as_of(self) -> int:
        """Latest event time added, microseconds; -1 for none."""
        with self._store.snapshot() as view:
            return int(self._total(view)[0, 0])

    def offsets(self) -> dict[int, int]:
        """Partition -> offset of the first row of feedback that is not in yet."""
        with self._store.snapshot() as view:
            return self._offsets.read(view)

    def add(self, feedback: Feedback, value_E: np.ndarray | None = None) -> None:
        """See `Statistics.add`; feedback with a `source` is counted once.

        Raises:
            StoreError: rows of the partition before the batch are missing, the store holds another
                rule's rows, or it cannot be written.
        """
        if len(feedback) == 0:
            return
        self._store.update(lambda view: self.changes(view, feedback, value_E))

    def changes(
        self, view: Snapshot, feedback: Feedback, value_E: np.ndarray | None = None
    ) -> Changes:
        """What `add` would commit on top of a view, for those who commit more with it in one step.

        Raises:
            StoreError: see `add`.
        """
        if len(feedback) == 0:
            return Changes()
        item_E, value_E, time_E = columns(feedback, value_E)
        return self._sums(view, item_E, value_E, time_E, feedback.source)

    def read(self, item_N: np.ndarray, at: int) -> tuple[Moments, float]:
        """See `Statistics.read`.

        Raises:
            StoreError: the store holds another rule's rows, or damaged ones.
        """
        row_NW, total_1W = self.of(item_N)
        moment = float(max(at, int(total_1W[0, 0])))
        total = self.forgetting.read(total_1W, moment)
        return self.forgetting.read(row_NW, moment), float(total.count_N[0])

    def of(self, item_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Statistics.of`.

        Raises:
            StoreError: the store holds another rule's rows, or damaged ones.
        """
        with self._store.snapshot() as view:
            total_1W = self._total(view)
            return self._rows(view, item_N), total_1W

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Statistics.rows`."""
        with self._store.snapshot() as view:
            total_1W = self._total(view)
            pieces = [keys.astype(np.int64) for keys, _ in view.scan(self.config.name)]
            item_U = np.concatenate([np.zeros(0, dtype=np.int64), *pieces])
            row_IW = self.forgetting.empty(int(item_U.max(initial=-1)) + 1)
            row_IW[item_U] = self._rows(view, item_U)
        return row_IW, total_1W

    def _sums(
        self,
        view: Snapshot,
        item_E: np.ndarray,
        value_E: np.ndarray,
        time_E: np.ndarray,
        source: tuple[int, int] | None,
    ) -> Changes:
        total_1W = self._total(view)
        seen, blobs = self._offsets.after(view, source, len(item_E))
        if seen == len(item_E):
            return Changes()
        item_E, value_E, time_E = item_E[seen:], value_E[seen:], time_E[seen:]
        item_U, place_E = np.unique(item_E, return_inverse=True)
        row_UW = self._rows(view, item_U)
        self.forgetting.add(row_UW, place_E, value_E, time_E)
        self.forgetting.add(total_1W, np.zeros_like(place_E), value_E, time_E)
        blobs[f"{self.config.name}/total"] = total_1W.tobytes()
        blobs[f"{self.config.name}/rule"] = self._rule
        length = 8 * self.forgetting.width
        starts = length * np.arange(len(item_U))
        data = np.frombuffer(row_UW.tobytes(), dtype=np.uint8)
        records = Records(data, starts, np.full(len(item_U), length))
        change = TableChange(self.config.name, item_U.astype(np.uint64), records)
        return Changes([change], blobs=blobs)

    def _total(self, view: Snapshot) -> np.ndarray:
        rule = view.blob(f"{self.config.name}/rule")
        if rule is None:
            return self.forgetting.empty(1)
        if rule != self._rule:
            raise StoreError(
                f"the statistics {self.config.name!r} were made by {rule.decode()}, asked for is "
                f"{self._rule.decode()}; give the statistics another name, or keep the rule"
            )
        held = view.blob(f"{self.config.name}/total") or b""
        return self._decoded(np.frombuffer(held, dtype=np.uint8), 1)

    def _rows(self, view: Snapshot, item_N: np.ndarray) -> np.ndarray:
        """Rows of some items, empty where there are none, float64 [N, W]."""
        records = view.get(self.config.name, item_N.astype(np.uint64))
        known_N = records.lengths > 0
        row_NW = self.forgetting.empty(len(item_N))
        if known_N.any():
            parts = [records[int(i)] for i in np.flatnonzero(known_N)]
            data = np.frombuffer(b"".join(parts), dtype=np.uint8)
            row_NW[known_N] = self._decoded(data, len(parts))
        return row_NW

    def _decoded(self, data: np.ndarray, n: int) -> np.ndarray:
        if data.size != n * 8 * self.forgetting.width:
            raise StoreError(
                f"the statistics {self.config.name!r} hold rows of another length; the store is "
                "damaged, or was written by another program"
            )
        return data.view(np.float64).reshape(n, self.forgetting.width).copy()
