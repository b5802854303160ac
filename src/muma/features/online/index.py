"""From key to row: an open-addressing hash table over unsigned 64-bit keys (compiled)."""

from __future__ import annotations

import numba
import numpy as np

_MIX = np.uint64(0x9E3779B97F4A7C15)


@numba.njit(cache=True, nogil=True)
def _place(key, bits):
    mixed = key * _MIX
    mixed ^= mixed >> np.uint64(32)
    return np.int64((mixed * _MIX) >> np.uint64(64 - bits))


@numba.njit(cache=True, nogil=True)
def find(key_N: np.ndarray, slot_key: np.ndarray, slot_row: np.ndarray, bits: int) -> np.ndarray:
    """Row of each key, -1 where there is none; int64 [N].

    Args:
        key_N: uint64 keys.
        slot_key: uint64 [2 ** bits].
        slot_row: int32 [2 ** bits], -1 in empty slots.
        bits: size of the table.
    """
    found = np.empty(len(key_N), dtype=np.int64)
    mask = (1 << bits) - 1
    for n in range(len(key_N)):
        at = _place(key_N[n], bits)
        while slot_row[at] >= 0 and slot_key[at] != key_N[n]:
            at = (at + 1) & mask
        found[n] = slot_row[at]
    return found


@numba.njit(cache=True, nogil=True)
def insert(
    key_N: np.ndarray, row_N: np.ndarray, slot_key: np.ndarray, slot_row: np.ndarray, bits: int
) -> None:
    """Enter keys that are not there yet; the table must have room.

    Args:
        key_N: uint64 keys, distinct.
        row_N: int64 rows.
        slot_key: uint64 [2 ** bits], changed.
        slot_row: int32 [2 ** bits], changed.
        bits: size of the table.
    """
    mask = (1 << bits) - 1
    for n in range(len(key_N)):
        at = _place(key_N[n], bits)
        while slot_row[at] >= 0:
            at = (at + 1) & mask
        slot_key[at] = key_N[n]
        slot_row[at] = row_N[n]


@numba.njit(cache=True, nogil=True)
def resolve(
    key_M: np.ndarray,
    event_M: np.ndarray,
    bits_WN: np.ndarray,
    kind_mask: np.ndarray,
    slot_key: np.ndarray,
    slot_row: np.ndarray,
    bits: int,
    free: np.ndarray,
    n_free: int,
    row_key: np.ndarray,
) -> tuple[np.ndarray, int]:
    """Row of every pair whose event writes something to this kind of key; new keys get a row.

    Args:
        key_M: uint64, the key of each pair.
        event_M: int64, the event of each pair.
        bits_WN: bits of writes by event.
        kind_mask: uint64 [W], bits that matter to this kind.
        slot_key: the hash table, which must have room for every key of the call.
        slot_row: its rows.
        bits: its size.
        free: int64, free rows; taken from the end.
        n_free: how many are free.
        row_key: uint64 [R], the key of each row, kept up to date.

    Returns:
        int64 [M], -1 for pairs that write nothing, and how many rows are free after.
    """
    rows = np.empty(len(key_M), dtype=np.int64)
    mask = (1 << bits) - 1
    for m in range(len(key_M)):
        writes = False
        for w in range(len(kind_mask)):
            if bits_WN[w, event_M[m]] & kind_mask[w]:
                writes = True
        if not writes:
            rows[m] = -1
            continue
        key = key_M[m]
        at = _place(key, bits)
        while slot_row[at] >= 0 and slot_key[at] != key:
            at = (at + 1) & mask
        if slot_row[at] < 0:
            n_free -= 1
            slot_key[at] = key
            slot_row[at] = free[n_free]
            row_key[free[n_free]] = key
        rows[m] = slot_row[at]
    return rows, n_free


@numba.njit(cache=True, nogil=True)
def touch(row_M: np.ndarray, mark: np.ndarray, listed: np.ndarray, n_listed: int) -> int:
    """List rows that are not marked yet and mark them; returns the new length of the list.

    Args:
        row_M: int64 rows, -1 left out.
        mark: bool [R].
        listed: int64 [R], the list.
        n_listed: its length.
    """
    for m in range(len(row_M)):
        r = row_M[m]
        if r >= 0 and not mark[r]:
            mark[r] = True
            listed[n_listed] = r
            n_listed += 1
    return n_listed
