"""Take everything out of a state store that belongs to one user.

What others' keys have counted of the user's events stays: an item's clicks, a category's, what the
followers of the user saw. It names nobody, and leaves with the windows (`Plan`).
"""

from __future__ import annotations

import io
from collections.abc import Collection

import numpy as np
import polars as pl

from muma.features.keys import KeyKind
from muma.features.store import Changes, Records, Snapshot, StateStore, TableChange

OWN = ("user", "friends")  # components of keys that are a user's index
QUARANTINE = "quarantine/"  # blobs of events that the engine refused
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def forget(store: StateStore, user: int, *, components: Collection[str] = OWN) -> int:
    """Remove a user's keys of every kind, pairs and sequences too, in one commit.

    No engine may stand on the store: it would bring back what it holds in memory.

    Args:
        store: open for writing.
        user: dense index.
        components: only keys with one of these; events that were refused go with all of them only.

    Returns:
        How many keys were removed; with none, there is no commit.

    Raises:
        StoreError: the store cannot be read or written.
    """
    with store.snapshot() as view:
        gone = {
            table: keys
            for table in view.tables()
            if len(keys := _keys(view, table, user, components))
        }
        blobs = _quarantined(view, user) if set(components) >= set(OWN) else {}
    if gone or blobs:
        none = np.zeros(0, dtype=np.uint64)
        tables = [TableChange(table, none, Records.of([]), keys) for table, keys in gone.items()]
        store.commit(Changes(tables, blobs=blobs))
    return sum(map(len, gone.values()))


def holds(store: StateStore, user: int) -> int:
    """Keys that are a user's."""
    with store.snapshot() as view:
        return sum(len(_keys(view, table, user, OWN)) for table in view.tables())


def _keys(view: Snapshot, table: str, user: int, components: Collection[str]) -> np.ndarray:
    parts = KeyKind.parse(table).components
    if not set(parts) & set(components):
        return np.zeros(0, dtype=np.uint64)
    found = [np.zeros(0, dtype=np.uint64)]
    for keys, _ in view.scan(table):
        halves = [keys] if len(parts) == 1 else [keys >> _HALF, keys & _LOW]
        mine = np.zeros(len(keys), dtype=np.bool_)
        for part, half in zip(parts, halves, strict=True):
            if part in components:
                mine |= half == np.uint64(user)
        found.append(keys[mine])
    return np.concatenate(found)


def _quarantined(view: Snapshot, user: int) -> dict[str, bytes | None]:
    """Blobs of refused events that hold some of the user's, without those."""
    changed: dict[str, bytes | None] = {}
    for name, blob in view.blobs(QUARANTINE):
        frame = pl.read_ipc(io.BytesIO(blob))
        if "user_id" not in frame.columns:
            continue
        left = frame.filter(pl.col("user_id").ne_missing(user))
        if left.height == frame.height:
            continue
        buffer = io.BytesIO()
        left.write_ipc(buffer)
        changed[name] = buffer.getvalue() if left.height else None
    return changed
