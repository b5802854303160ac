"""Moments of linear models in the feature store: added to by many workers, read by all.

An addition reads the moments, adds its rows and writes them in one `StateStore.update`, so that no
increment is lost between workers and a kill leaves a batch added whole or not at all. Feedback that names
its `source` is counted once (`Offsets`). A reader decodes and solves anew only what has changed.

    blob  <name>/moments     the arrays of `LinearStatistics`
    table <name>             item -> the numbers of its regression, float64
    blob  <name>/time        latest event time of the regressions
    blob  <name>/offsets     see `Offsets`
    blob  <name>/rule        what the moments depend on, JSON: another rule is refused

Shape: E feedback rows, N candidates, U items of a batch, V = D + 1 of an interest vector, F features.
"""

from __future__ import annotations

import io
import json

import numpy as np

from muma.errors import StoreError
from muma.features.store import Changes, Records, Snapshot, StateStore, TableChange
from muma.policy.arm_regressions import ArmRegressions
from muma.policy.linear_statistics import LinearConfig, LinearPosterior, LinearStatistics
from muma.policy.offsets import Offsets


class SharedLinear:
    """`LinearStatistics` in a `StateStore`; give it to `LinUCB` or `LinTS`.

    Args:
        config: prior, scaling, discount; a policy's own config is one.
        store: an open store; every read sees its last commit.
        name: of the blobs; one a policy.

    Example:
        >>> from muma.backends.state_memory import MemoryStore
        >>> moments = SharedLinear(LinearConfig(), store=MemoryStore())
        >>> x_EF, time_E = np.zeros((2, 3), np.float32), np.zeros(2, np.int64)
        >>> moments.add(x_EF, np.ones(2), time_E, source=(0, 0))
        >>> moments.add(x_EF, np.ones(2), time_E, source=(0, 0))  # sent twice, counted once
        >>> moments.count, moments.offsets()
        (2.0, {0: 2})
    """

    def __init__(self, config: LinearConfig, *, store: StateStore, name: str = "linear") -> None:
        self.config = config
        self._store, self._name, self._offsets = store, name, Offsets(name)
        self._rule = _rule_of(config)
        self._raw: bytes | None = None
        self._held = LinearStatistics(config)

    @property
    def time(self) -> int:
        """Latest event time added, microseconds; -1 for none."""
        return self._now().time

    @property
    def count(self) -> float:
        """See `LinearStatistics.count`."""
        return self._now().count

    def offsets(self) -> dict[int, int]:
        """Partition -> offset of the first row of feedback that is not in yet."""
        with self._store.snapshot() as view:
            return self._offsets.read(view)

    def add(
        self,
        value_EF: np.ndarray,
        reward_E: np.ndarray,
        time_E: np.ndarray,
        *,
        source: tuple[int, int] | None = None,
    ) -> None:
        """See `LinearStatistics.add`; feedback with a `source` is counted once.

        Raises:
            DataError: see `LinearStatistics.add`; nothing was learned.
            StoreError: rows before the batch are missing, another rule's moments are held, or the store
                cannot be written.
        """

        def changes(view: Snapshot) -> Changes:
            _check_rule(view, self._name, self._rule)
            seen, blobs = self._offsets.after(view, source, len(value_EF))
            if seen == len(value_EF):
                return Changes()
            held = self._decoded(view.blob(f"{self._name}/moments"))
            held.add(value_EF[seen:], reward_E[seen:], time_E[seen:])
            written = {f"{self._name}/moments": _packed(held.arrays())}
            return Changes(blobs={**blobs, **written, f"{self._name}/rule": self._rule})

        self._store.update(changes)

    def posterior(self, n_features: int) -> LinearPosterior:
        """See `LinearStatistics.posterior`; of what the store holds now."""
        return self._now().posterior(n_features)

    def arrays(self) -> dict[str, np.ndarray]:
        """See `LinearStatistics.arrays`."""
        return self._now().arrays()

    def _now(self) -> LinearStatistics:
        with self._store.snapshot() as view:
            _check_rule(view, self._name, self._rule)
            raw = view.blob(f"{self._name}/moments")
        if raw != self._raw:
            self._raw, self._held = raw, self._decoded(raw)
        return self._held

    def _decoded(self, raw: bytes | None) -> LinearStatistics:
        if raw is None:
            return LinearStatistics(self.config)
        return LinearStatistics.from_arrays(self.config, _unpacked(raw, self._name))


class SharedRegressions(ArmRegressions):
    """`ArmRegressions` in a `StateStore`; `NeuralLinear(store=...)` makes one.

    The rows in memory are copies of the store's, renewed for the arms of a slate when they have changed.

    Args:
        config: as of `ArmRegressions`.
        width: V.
        store: an open store; every read sees its last commit.
        name: of the table; one a policy.

    Raises:
        StoreError: the store holds another rule's regressions, or those of another width.
    """

    def __init__(
        self, config: LinearConfig, width: int, *, store: StateStore, name: str = "regression"
    ) -> None:
        super().__init__(config, width)
        self._store, self._name, self._offsets = store, name, Offsets(name)
        self._rule = _rule_of(config, width=width)
        self._raw: dict[int, bytes] = {}
        with store.snapshot() as view:
            _check_rule(view, name, self._rule)
            self.time = self._time_in(view)

    @staticmethod
    def width_in(store: StateStore, name: str = "regression") -> int | None:
        """V of the regressions that a store holds; None when it holds none."""
        with store.snapshot() as view:
            rule = view.blob(f"{name}/rule")
        return None if rule is None else int(json.loads(rule)["width"])

    def offsets(self) -> dict[int, int]:
        """Partition -> offset of the first row of feedback that is not in yet."""
        with self._store.snapshot() as view:
            return self._offsets.read(view)

    def add(
        self,
        item_E: np.ndarray,
        vector_EV: np.ndarray,
        reward_E: np.ndarray,
        time_E: np.ndarray,
        *,
        source: tuple[int, int] | None = None,
    ) -> None:
        """See `ArmRegressions.add`; feedback with a `source` is counted once.

        Raises:
            StoreError: rows before the batch are missing, another rule's regressions are held, or the
                store cannot be written.
        """

        def changes(view: Snapshot) -> Changes:
            _check_rule(view, self._name, self._rule)
            seen, blobs = self._offsets.after(view, source, len(item_E))
            if seen == len(item_E):
                return Changes()
            item_U = np.unique(item_E[seen:])
            own = ArmRegressions(self.config, self.width)
            self._take(own, item_U, self._records(view, item_U))
            own.add(item_E[seen:], vector_EV[seen:], reward_E[seen:], time_E[seen:])
            raw_U = [own.row(item).tobytes() for item in item_U.tolist()]
            length = np.array([len(raw) for raw in raw_U])
            records = Records(
                np.frombuffer(b"".join(raw_U), dtype=np.uint8), np.cumsum(length) - length, length
            )
            latest = max(self._time_in(view), own.time)
            blobs |= {f"{self._name}/time": str(latest).encode(), f"{self._name}/rule": self._rule}
            return Changes(
                [TableChange(self._name, item_U.astype(np.uint64), records)], blobs=blobs
            )

        self._store.update(changes)

    def moments(
        self, item_N: np.ndarray, vector_V: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `ArmRegressions.moments`; of what the store holds now."""
        with self._store.snapshot() as view:
            self._renew(view, np.unique(item_N))
        return super().moments(item_N, vector_V)

    def arrays(self) -> dict[str, np.ndarray]:
        """See `ArmRegressions.arrays`; of all arms in the store."""
        with self._store.snapshot() as view:
            pieces = [keys.astype(np.int64) for keys, _ in view.scan(self._name)]
            self._renew(view, np.concatenate([np.zeros(0, np.int64), *pieces]))
        return super().arrays()

    def now(self) -> int:
        """See `ArmRegressions.now`."""
        with self._store.snapshot() as view:
            return self._time_in(view)

    def _renew(self, view: Snapshot, item_U: np.ndarray) -> None:
        _check_rule(view, self._name, self._rule)
        changed = {
            item: raw
            for item, raw in self._records(view, item_U).items()
            if self._raw.get(item) != raw
        }
        self._take(self, np.array(list(changed), dtype=np.int64), changed)
        self._raw |= changed
        self.grow_older(self._time_in(view))

    def _take(self, into: ArmRegressions, item_U: np.ndarray, raw: dict[int, bytes]) -> None:
        for item in item_U.tolist():
            if item not in raw:
                continue
            row_W = np.frombuffer(raw[item], dtype=np.float64)
            if len(row_W) != into.row_width:
                raise StoreError(
                    f"the statistics {self._name!r} hold rows of another length; the store is "
                    "damaged, or was written by another program"
                )
            into.put(item, row_W)

    def _records(self, view: Snapshot, item_U: np.ndarray) -> dict[int, bytes]:
        records = view.get(self._name, item_U.astype(np.uint64))
        return {int(item_U[u]): bytes(records[int(u)]) for u in np.flatnonzero(records.lengths > 0)}

    def _time_in(self, view: Snapshot) -> int:
        held = view.blob(f"{self._name}/time")
        return -1 if held is None else int(held)


def _rule_of(config: LinearConfig, **more: int) -> bytes:
    return json.dumps({"half_life_us": config.half_life_us, **more}, sort_keys=True).encode()


def _check_rule(view: Snapshot, name: str, asked: bytes) -> None:
    rule = view.blob(f"{name}/rule")
    if rule is not None and rule != asked:
        raise StoreError(
            f"the statistics {name!r} were made by {rule.decode()}, asked for is {asked.decode()}; give "
            "the statistics another name, or keep the rule"
        )


def _packed(arrays: dict[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # pyright: ignore[reportArgumentType] - no array is called allow_pickle
    return stream.getvalue()


def _unpacked(raw: bytes, name: str) -> dict[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as stored:
            return dict(stored)
    except (ValueError, OSError, KeyError) as error:
        raise StoreError(
            f"the statistics {name!r} cannot be read ({error}); the store is damaged"
        ) from None
