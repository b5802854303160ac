"""From requests to features, whoever holds the rows: what the engine and the reader share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np

from muma.features.activity import components
from muma.features.catalogue import Catalogue
from muma.features.feature import FeatureTable, Moment, Sequences
from muma.features.keys import pack
from muma.features.online.kernel_tables import KernelTables, kernel_tables
from muma.features.online.read_kernel import read, read_sequence
from muma.features.plan import Plan

RowsOf = Callable[[int, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Kind of key (its place) and uint64 keys [N] -> rows int64 [R, width], row of each key int64 [N]."""

Merge = Callable[[int, np.ndarray, np.ndarray, int, np.ndarray], None]
"""Kind of key, uint64 keys [N], moments int64 [N], place of the first word, int64 [N, M] to fill."""


@dataclass(frozen=True)
class Source:
    """Who holds the state.

    Attributes:
        rows_of: finds rows.
        merge: does what `read` does with the rows of the keys, for who can do it without keeping
            rows; None has no such way.
    """

    rows_of: RowsOf
    merge: Merge | None = None


_ALONE = {"user", "friends", "global"}  # components that the items of a lookup share


class Reading:
    """Reads features of a plan through a function that finds rows."""

    def __init__(self, plan: Plan, catalogue: Catalogue) -> None:
        self.plan, self.catalogue = plan, catalogue
        self.kernels: list[KernelTables] = [
            kernel_tables(kind, len(plan.writes)) for kind in plan.kinds
        ]
        self._sequence_places = {place for _, place, _ in plan.sequences}

    def lookup(self, source: Source, user: int, items: np.ndarray, at: int) -> FeatureTable:
        """One user with N items at one moment.

        Args:
            source: holds the state.
            user: dense index, -1 for nobody known.
            items: dense indices, int64 [N]; -1 for no item.
            at: microseconds.
        """
        item_B = np.asarray(items, dtype=np.int64)
        user_B = np.full(len(item_B), user, dtype=np.int64)
        at_B = np.full(len(item_B), at, dtype=np.int64)
        return self._read(source, user_B, item_B, at_B, one_user=True)

    def table(
        self, source: Source, users: np.ndarray, items: np.ndarray, ats: np.ndarray
    ) -> FeatureTable:
        """B requests of any users, items and moments (int64 [B] each)."""
        return self._read(
            source,
            np.asarray(users, dtype=np.int64),
            np.asarray(items, dtype=np.int64),
            np.asarray(ats, dtype=np.int64),
            one_user=False,
        )

    def _read(
        self,
        source: Source,
        user_B: np.ndarray,
        item_B: np.ndarray,
        at_B: np.ndarray,
        *,
        one_user: bool,
    ) -> FeatureTable:
        plan, count = self.plan, len(item_B)
        parts = components(plan, self.catalogue, user_B, item_B)
        merged_BM = np.zeros((count, plan.merged), dtype=np.int64)
        present_BK = np.ones((count, len(plan.kinds)), dtype=np.bool_)
        found: dict[int, tuple[np.ndarray, np.ndarray, bool]] = {}
        for place, kind in enumerate(plan.kinds):
            if not plan.needed[place]:
                continue
            shared = one_user and count > 1 and set(kind.key.components) <= _ALONE
            keep = slice(0, 1) if shared else slice(None)
            keys, present = pack([parts[name][keep] for name in kind.key.components])
            present_BK[:, place] = present
            if not kind.states:
                continue
            first = int(plan.offsets[place])
            # of a request without the key everything is NaN, whatever is merged here
            if one_user and "item" not in kind.key.components:  # few keys, asked for many times
                keys, back = (keys, None) if shared else _distinct(keys)
                few = np.zeros((len(keys), kind.merged), dtype=np.int64)
                held = self._fill(source, place, keys, at_B[: len(keys)], 0, few)
                merged_BM[:, first : first + kind.merged] = few[0] if back is None else few[back]
            else:
                back = None
                held = self._fill(source, place, keys, at_B, first, merged_BM)
            if held is not None:
                rows, row_N = held
                row_N = row_N if back is None else row_N[back]
                found[place] = (rows, np.where(present, row_N, -1), shared)
        published = self.catalogue.of_items(self.catalogue.published_I, item_B)
        values = plan.values(merged_BM, present_BK, Moment(at_B, published, parts))
        return FeatureTable(plan.columns, values, at_B, self._sequences(found, at_B))

    def _fill(
        self,
        source: Source,
        place: int,
        keys: np.ndarray,
        at_N: np.ndarray,
        first: int,
        merged_NM: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Merge what is kept of some keys; their rows too, where a sequence lies in them."""
        if source.merge is not None and place not in self._sequence_places:
            source.merge(place, keys, at_N, first, merged_NM)
            return None
        rows, row_N = source.rows_of(place, keys)
        read(rows, row_N, at_N, self.kernels[place], first, merged_NM)
        return rows, row_N

    def _sequences(
        self, found: dict[int, tuple[np.ndarray, np.ndarray, bool]], at_B: np.ndarray
    ) -> dict[str, Sequences]:
        shown = {}
        for spec, place, state in self.plan.sequences:
            rows, row_N, shared = found[place]
            kept = self.plan.kinds[place].states[state]
            entry_BL3 = np.zeros((len(row_N), spec.length, 3), dtype=np.int64)
            count_B = np.zeros(len(row_N), dtype=np.int64)
            read_sequence(rows, row_N, at_B, kept.offset, kept.horizon, entry_BL3, count_B)
            one = unpack(entry_BL3, count_B)
            shown[spec.name] = _repeated(one, len(at_B)) if shared else one
        return shown


@numba.njit(cache=True, nogil=True)
def _distinct(key_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different keys [M], and the place of each key among them, int64 [N]."""
    order_N = np.argsort(key_N)
    few, back_N, found = np.empty_like(key_N), np.empty(len(key_N), dtype=np.int64), 0
    for place in order_N:
        if found == 0 or few[found - 1] != key_N[place]:
            few[found] = key_N[place]
            found += 1
        back_N[place] = found - 1
    return few[:found], back_N


def unpack(entry_BL3: np.ndarray, count_B: np.ndarray) -> Sequences:
    """Sequence arrays from entries (time, packed, dwell) at the right end of each row."""
    length = entry_BL3.shape[1]
    mask = np.arange(length) >= length - count_B[:, None]
    time, packed, dwell = entry_BL3[..., 0], entry_BL3[..., 1], entry_BL3[..., 2]
    return Sequences(
        np.where(mask, (packed >> 16) - 1, -1),
        np.where(mask, time, 0),
        np.where(mask, (packed >> 8) & 255, -1),
        np.where(mask, packed & 255, -1),
        np.where(mask, dwell, -1),
        mask,
    )


def _repeated(one: Sequences, count: int) -> Sequences:
    """The same sequence for every request, without copies."""
    arrays = (one.item_BL, one.time_BL, one.kind_BL, one.domain_BL, one.dwell_BL, one.mask_BL)
    shape = (count, one.item_BL.shape[1])
    return Sequences(*(np.broadcast_to(array, shape) for array in arrays))
