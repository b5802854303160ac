"""A row as bytes, and back: what a store keeps of one key.

    byte  0       format version
    bytes 1-4     signature of the kind's layout: another plan's record is refused
    bytes 5-8     checksum of the rest
    rest          runs: varint of zero words skipped, varint of words that follow, each as a varint
                  of its zigzag form; words after the last run are zero

Rows are tidied first (`tidy_kernel.py`), so that equal sets of events give equal bytes.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

import numba
import numpy as np

from muma.errors import StoreError
from muma.features.kind_plan import DECAY, GAP, SEQUENCE, SLIDING, KindPlan
from muma.features.online.kernel_tables import KernelTables, ReadTables
from muma.features.online.read_kernel import read_row
from muma.features.online.tidy_kernel import tidy
from muma.features.plan import Plan
from muma.features.store import Records

FORMAT = 1
HEADER = 9
_FNV = 0x811C9DC5
_PRIME = 0x01000193
WRONG = ("", "is cut short", "is of another format", "is of another feature set", "is damaged")


def signature(kind: KindPlan) -> int:
    """32 bits that change with the layout of a kind's rows."""
    layout = kind.state_table.tobytes() + kind.part_table.tobytes() + kind.sign_table.tobytes()
    return zlib.crc32(kind.name.encode() + layout)


def plan_signature(plan: Plan) -> bytes:
    """What a store says of the features whose state it holds: their recipe, and their layout."""
    features = plan.config.model_dump(mode="json")
    layout = {kind.name: signature(kind) for kind in plan.kinds}
    return json.dumps({"features": features, "layout": layout}, sort_keys=True).encode()


def encode(rows: np.ndarray, row_N: np.ndarray, tables: KernelTables, sign: int) -> Records:
    """Bytes of some rows; the rows are tidied in place.

    Args:
        rows: int64 [R, width].
        row_N: int64, which rows.
        tables: the kind's plan.
        sign: its `signature`.
    """
    tidy(rows, row_N, tables)
    most = HEADER + rows.shape[1] * 11 + 20
    data = np.empty(min(max(len(row_N) * 256, most), 1 << 26), dtype=np.uint8)
    lengths = np.zeros(len(row_N), dtype=np.int64)
    done = size = 0
    while True:
        done, size = _encode(rows, row_N, np.uint32(sign), data, lengths, done, size)
        if done == len(row_N):
            break
        grown = np.empty(max(2 * len(data), size + most), dtype=np.uint8)
        grown[:size] = data[:size]
        data = grown
    return Records(data[:size], np.cumsum(lengths) - lengths, lengths)


def decode(records: Records, rows: np.ndarray, row_N: np.ndarray, sign: int, table: str) -> None:
    """Fill rows from bytes; an absent record (length 0) makes a row of zeros.

    Args:
        records: N of them.
        rows: int64 [R, width], changed in place.
        row_N: int64, the row of each record.
        sign: the kind's `signature`.
        table: the kind's name, for messages.

    Raises:
        StoreError: a record is damaged, cut short, or of another format or plan.
    """
    wrong, at = _decode(records.data, records.starts, records.lengths, rows, row_N, np.uint32(sign))
    _refuse(wrong, at, table)


def merge(
    records: Records,
    sign: int,
    table: str,
    at_N: np.ndarray,
    tables: ReadTables,
    *,
    first: int,
    row: np.ndarray,
    merged_NM: np.ndarray,
) -> None:
    """What requests read of their records, without keeping the rows: `decode`, then `read`.

    Args:
        records: N of them.
        sign: the kind's `signature`.
        table: the kind's name, for messages.
        at_N: int64 microseconds.
        tables: what is read of the kind.
        first: place of the kind's first merged word.
        row: int64 [width], scratch; one row for all stays in the cache.
        merged_NM: int64, zero where this kind writes; filled in place.

    Raises:
        StoreError: see `decode`.
    """
    wrong, at = _merge(
        records.data, records.starts, records.lengths, np.uint32(sign), at_N, *tables, row,
        first, merged_NM,
    )  # fmt: skip
    _refuse(wrong, at, table)


def _refuse(wrong: int, at: int, table: str) -> None:
    if wrong:
        advice = (
            "rebuild the state with 'muma stream' in a new folder"
            if wrong in (2, 3)
            else "restore the last snapshot of the store and run 'muma stream' again"
        )
        raise StoreError(
            f"a record of {table!r} (number {at} of the read) {WRONG[wrong]}; {advice}"
        )


def view(kind: KindPlan, row: np.ndarray) -> dict[str, Any]:
    """A row as readable data: every state with what is in it (the JSON view of paper eq. 18)."""
    found: dict[str, Any] = {"newest_us": int(row[0]) - 1}
    for state in kind.states:
        names = [
            f"{p.op} {p.measure.column} of {p.where}" if p.op != "count" else f"events of {p.where}"
            for p in state.partials
        ]
        if state.kind == SEQUENCE:
            count = min(max(int(row[state.offset]), 0), state.slots)
            words = row[state.offset + 1 : state.offset + 1 + count * 3]
            found[f"sequence {state.label}"] = [
                {"time_us": int(t), "item": (int(p) >> 16) - 1, "dwell_ms": int(d)}
                for t, p, d in words.reshape(-1, 3)
            ]
            continue
        slots = []
        extra = 1 if state.kind == DECAY else 0
        for i in range(state.slots + extra):
            slot = row[state.offset + i * state.stride : state.offset + (i + 1) * state.stride]
            if not slot.any():
                continue
            shown: dict[str, Any] = {}
            if state.kind in (SLIDING, DECAY):
                shown["from_us"] = (int(slot[0]) - 1) * state.span
            elif state.kind == GAP:
                shown |= {"start_us": int(slot[0]) - 1, "end_us": int(slot[1]) - 1}
            place = state.head
            for name, partial in zip(names, state.partials, strict=True):
                words = slot[place : place + partial.words]
                shown[name] = words.tolist() if partial.words > 1 else int(words[0])
                place += partial.words
            slots.append(shown)
        found[f"{state.label.lower()} {state.span}us"] = slots
    return found


@numba.njit(cache=True, nogil=True)
def _varint(value, data, at):
    while value >= np.uint64(128):
        data[at] = np.uint8((value & np.uint64(127)) | np.uint64(128))
        value >>= np.uint64(7)
        at += 1
    data[at] = np.uint8(value)
    return at + 1


@numba.njit(cache=True, nogil=True)
def _checksum(data, start, end):
    found = np.uint32(_FNV)
    for i in range(start, end):
        found = np.uint32((found ^ np.uint32(data[i])) * np.uint32(_PRIME))
    return found


@numba.njit(cache=True, nogil=True)
def _encode(rows, row_N, sign, data, lengths, done, size):
    width = rows.shape[1]
    for n in range(done, len(row_N)):
        if size + HEADER + width * 11 + 20 > len(data):
            return n, size
        row, start = rows[row_N[n]], size
        at, w = start + HEADER, 0
        while w < width:
            zeros = w
            while w < width and row[w] == 0:
                w += 1
            if w == width:
                break
            first = w
            while w < width and row[w] != 0:
                w += 1
            at = _varint(np.uint64(first - zeros), data, at)
            at = _varint(np.uint64(w - first), data, at)
            for i in range(first, w):
                at = _varint(np.uint64((row[i] << 1) ^ (row[i] >> 63)), data, at)
        data[start] = FORMAT
        check = _checksum(data, start + HEADER, at)
        for byte in range(4):
            data[start + 1 + byte] = np.uint8((sign >> np.uint32(8 * byte)) & np.uint32(255))
            data[start + 5 + byte] = np.uint8((check >> np.uint32(8 * byte)) & np.uint32(255))
        lengths[n] = at - start
        size = at
    return len(row_N), size


@numba.njit(cache=True, nogil=True)
def _decode(data, starts, lengths, rows, row_N, sign):
    for n in range(len(row_N)):
        wrong = _decode_one(data, starts[n], lengths[n], rows[row_N[n]], sign)
        if wrong:
            return wrong, n
    return 0, 0


@numba.njit(cache=True, nogil=True)
def _merge(data, starts, lengths, sign, at_N, states, reads, row, first, merged_NM):
    for n in range(len(lengths)):
        if lengths[n] == 0:
            continue
        wrong = _decode_one(data, starts[n], lengths[n], row, sign)
        if wrong:
            return wrong, n
        read_row(row, at_N[n], states, reads, merged_NM[n, first:])
    return 0, 0


@numba.njit(cache=True, nogil=True)
def _decode_one(data, start, length, row, sign):
    """Fill one row; returns 0, or the place in `WRONG` of what is wrong with the record."""
    width = len(row)
    row[:] = 0
    if length == 0:
        return 0
    end = start + length
    if length < HEADER or start < 0 or end > len(data):
        return 1
    if data[start] != FORMAT:
        return 2
    of, check = np.uint32(0), np.uint32(0)
    for byte in range(4):
        of |= np.uint32(data[start + 1 + byte]) << np.uint32(8 * byte)
        check |= np.uint32(data[start + 5 + byte]) << np.uint32(8 * byte)
    if of != sign:
        return 3
    if check != _checksum(data, start + HEADER, end):
        return 4
    at, w = start + HEADER, np.int64(0)
    while at < end:
        zeros, at = _number(data, at, end)
        count, at = _number(data, at, end)
        w += np.int64(min(zeros, np.uint64(width + 1)))
        last = w + np.int64(min(count, np.uint64(width + 1)))
        if last == w or last > width:
            return 4
        while w < last:
            value, at = _number(data, at, end)
            row[w] = np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1))
            w += 1
        if at > end:
            return 4
    return 0


@numba.njit(cache=True, nogil=True)
def _number(data, at, end):
    """A varint and the place after it; beyond the end if it is not whole."""
    if at >= end:
        return np.uint64(0), end + 1
    digit = np.uint64(data[at])
    if digit < np.uint64(128):  # by far the most
        return digit, at + 1
    value, shift = digit & np.uint64(127), np.uint64(7)
    while True:
        at += 1
        if at >= end or shift > np.uint64(63):
            return np.uint64(0), end + 1
        digit = np.uint64(data[at])
        value |= (digit & np.uint64(127)) << shift
        shift += np.uint64(7)
        if digit < np.uint64(128):
            return value, at + 1
