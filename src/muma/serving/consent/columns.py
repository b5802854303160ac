"""Which columns of a user's features, and which events of a user's history, come of which source.

A column is of a source when it tells of the user: it is kept by a key that names the user, or those whom
the user follows. What an item's key counts of all who agreed names nobody, and stays.

Shape: F columns.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from muma.events.stream import ACTIONS
from muma.features.feature import Feature, Sequences
from muma.features.keys import KeyKind
from muma.features.plan import Plan
from muma.serving.consent.consent import Source, kinds_of

PRIVATE: tuple[Source, ...] = ("social", "gaze")
_CODES = {source: tuple(map(ACTIONS.index, kinds_of(source))) for source in PRIVATE}


def columns_of(plan: Plan) -> dict[str, np.ndarray]:
    """Source -> places of its columns, int64."""
    place = {name: at for at, name in enumerate(plan.columns)}
    return {
        source: np.array(
            [
                place[c]
                for f in plan.features
                if _is_of(f, source, plan)
                for c in f.columns
                if c in place
            ],
            dtype=np.int64,
        )
        for source in PRIVATE
    }


def without_kinds(sequence: Sequences, sources: Collection[str]) -> Sequences:
    """A sequence without the events of some sources: they are masked."""
    out_BL = np.zeros(sequence.kind_BL.shape, dtype=np.bool_)
    for source in sources:
        for code in _CODES.get(source, ()):
            out_BL |= sequence.kind_BL == code
    out_BL &= sequence.mask_BL
    if not out_BL.any():
        return sequence
    return _packed(sequence, sequence.mask_BL & ~out_BL)


def _packed(sequence: Sequences, mask_BL: np.ndarray) -> Sequences:
    """Only what the mask keeps, on the right, as a store that never held the others would give it."""
    order_BL = np.argsort(mask_BL, axis=1, kind="stable")
    mask_BL = np.take_along_axis(mask_BL, order_BL, axis=1)

    def moved(value_BL: np.ndarray, empty: int) -> np.ndarray:
        return np.where(mask_BL, np.take_along_axis(value_BL, order_BL, axis=1), empty)

    return Sequences(
        item_BL=moved(sequence.item_BL, -1), time_BL=moved(sequence.time_BL, 0),
        kind_BL=moved(sequence.kind_BL, -1), domain_BL=moved(sequence.domain_BL, -1),
        dwell_BL=moved(sequence.dwell_BL, -1), mask_BL=mask_BL,
    )  # fmt: skip


def _is_of(feature: Feature, source: Source, plan: Plan) -> bool:
    keys = {*feature.keys, *(cell.key for cell in feature.cells)}
    parts = {part for key in keys for part in KeyKind.parse(key).components}
    if source == "social" and "friends" in parts:
        return True
    if not parts & {"user", "friends"}:
        return False
    own = set(kinds_of(source))
    filters = [plan.filters[cell.partial.where].kinds for cell in feature.cells]
    return any(kinds and set(kinds) <= own for kinds in filters)
