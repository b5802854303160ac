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
from muma.features.kind_plan import State
from muma.features.online.kernel_tables import ReadTables, read_tables
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


class _Kind:
    """A kind of key that is read: its place, its components, and its words among the merged ones."""

    def __init__(
        self, place: int, components: tuple[str, ...], first: int, merged: int, kept: bool
    ) -> None:
        self.place, self.components = place, components
        self.first, self.merged, self.kept = first, merged, kept
        self.alone = set(components) <= _ALONE
        self.of_item = "item" in components


class Reading:
    """Reads features of a plan through a function that finds rows."""

    def __init__(self, plan: Plan, catalogue: Catalogue) -> None:
        self.plan, self.catalogue = plan, catalogue
        self.kernels: list[ReadTables] = [read_tables(kind) for kind in plan.kinds]
        self._sequence_places = {place for _, place, _ in plan.sequences}
        self._kinds = [
            _Kind(
                place, kind.key.components, int(plan.offsets[place]), kind.merged, bool(kind.states)
            )
            for place, kind in enumerate(plan.kinds)
            if plan.needed[place]
        ]

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

    def sequences(self, rows_of: RowsOf, user: int, at: int) -> dict[str, Sequences]:
        """The sequences of one user, as `lookup` without an item has them."""
        parts = {"user": np.array([user]), "friends": np.array([user]), "global": np.zeros(1, int)}
        none, at_1, shown = np.array([-1]), np.array([at]), {}
        held: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for _, place, _ in self.plan.sequences:
            if place not in held:
                names = self.plan.kinds[place].key.components
                keys, present = pack([parts.get(name, none) for name in names])
                rows, row_N = rows_of(place, keys)
                held[place] = rows, np.where(present, row_N, -1)
        for spec, place, state in self.plan.sequences:
            kept = self.plan.kinds[place].states[state]
            shown[spec.name] = _sequence(*held[place], at_1, kept, spec.length)
        return shown

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
        for kind in self._kinds:
            place, first = kind.place, kind.first
            shared = one_user and count > 1 and kind.alone
            keep = slice(0, 1) if shared else slice(None)
            keys, present = pack([parts[name][keep] for name in kind.components])
            present_BK[:, place] = present
            if not kind.kept:
                continue
            # of a request without the key everything is NaN, whatever is merged here
            if one_user and not kind.of_item:  # few keys, asked for many times
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
            one = _sequence(rows, row_N, at_B, self.plan.kinds[place].states[state], spec.length)
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


def _sequence(
    rows: np.ndarray, row_N: np.ndarray, at_N: np.ndarray, state: State, length: int
) -> Sequences:
    entry_NL3 = np.zeros((len(row_N), length, 3), dtype=np.int64)
    count_N = np.zeros(len(row_N), dtype=np.int64)
    read_sequence(rows, row_N, at_N, state.offset, state.horizon, entry_NL3, count_N)
    return unpack(entry_NL3, count_N)


def unpack(entry_BL3: np.ndarray, count_B: np.ndarray) -> Sequences:
    """Sequence arrays from entries (time, packed, dwell) at the right end of each row."""
    return Sequences(*_unpacked(entry_BL3, count_B))


@numba.njit(cache=True, nogil=True)
def _unpacked(entry_BL3: np.ndarray, count_B: np.ndarray) -> tuple[np.ndarray, ...]:
    """Item, time, kind, domain, dwell and mask, each [B, L]."""
    shape = entry_BL3.shape[:2]
    item, time = np.full(shape, -1, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    kind, domain = np.full(shape, -1, dtype=np.int64), np.full(shape, -1, dtype=np.int64)
    dwell, mask = np.full(shape, -1, dtype=np.int64), np.zeros(shape, dtype=np.bool_)
    for b in range(shape[0]):
        for at in range(shape[1] - count_B[b], shape[1]):
            packed = entry_BL3[b, at, 1]
            item[b, at], time[b, at] = (packed >> 16) - 1, entry_BL3[b, at, 0]
            kind[b, at], domain[b, at] = (packed >> 8) & 255, packed & 255
            dwell[b, at], mask[b, at] = entry_BL3[b, at, 2], True
    return item, time, kind, domain, dwell, mask


def _repeated(one: Sequences, count: int) -> Sequences:
    """The same sequence for every request, without copies."""
    arrays = (one.item_BL, one.time_BL, one.kind_BL, one.domain_BL, one.dwell_BL, one.mask_BL)
    shape = (count, one.item_BL.shape[1])
    return Sequences(*(np.broadcast_to(array, shape) for array in arrays))
