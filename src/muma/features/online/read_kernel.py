"""Rows at a moment into merged words (compiled). Reads are for moments after every event of the key.

Panes, epochs and sessions after the moment are left out; events inside the moment's own pane cannot
be told apart.
"""

from __future__ import annotations

import numba
import numpy as np

from muma.features.kind_plan import ADD, ALL_TIME, BEST, BUCKET, DECAY, GAP, SLIDING
from muma.features.online.kernel_tables import ReadTables
from muma.features.window import DECAY_LIMIT


@numba.njit(cache=True, nogil=True)
def read(
    rows: np.ndarray,
    row_B: np.ndarray,
    at_B: np.ndarray,
    tables: ReadTables,
    first: int,
    merged_BM: np.ndarray,
) -> None:
    """Merge what each request reads of its row.

    Args:
        rows: int64 [R, width].
        row_B: int64, the row of each request; -1 reads nothing.
        at_B: int64 microseconds.
        tables: what is read of the kind.
        first: place of the kind's first merged word.
        merged_BM: int64, zero where this kind writes; filled in place.
    """
    states, reads = tables.states, tables.reads
    for b in range(len(row_B)):
        if row_B[b] >= 0:
            read_row(rows[row_B[b]], at_B[b], states, reads, merged_BM[b, first:])


@numba.njit(cache=True, nogil=True)
def read_row(
    row: np.ndarray, at: int, states: np.ndarray, reads: np.ndarray, out: np.ndarray
) -> None:
    """Merge what one request reads of one row (int64 [width]) into its kind's words (int64 [M])."""
    for s in range(states.shape[0]):
        kind = states[s, 0]
        if kind == SLIDING:
            _sliding(row, s, at, states, reads, out)
        elif kind == ALL_TIME:
            _all_time(row, states[s], at, reads, out)
        elif kind == DECAY:
            _decay(row, states[s], at, reads, out)
        elif kind == GAP:
            _gap(row, states[s], at, reads, out)


@numba.njit(cache=True, nogil=True)
def _join(row, base, read_6, out):
    """Merge one slot's partial into the words of a read."""
    op, place, at = read_6[3], read_6[1], base + read_6[4]
    if op in (ADD, BUCKET):
        for w in range(read_6[2]):
            out[place + w] += row[at + w]
    elif op == BEST:
        out[place] = max(out[place], row[at])
    else:
        for w in range(read_6[2]):
            mine, other = np.uint64(out[place + w]), np.uint64(row[at + w])
            best = np.uint64(0)
            for byte in range(8):
                mask = np.uint64(255) << np.uint64(8 * byte)
                best |= max(mine & mask, other & mask)
            out[place + w] = np.int64(best)


@numba.njit(cache=True, nogil=True)
def _sliding(row, s, at, states, reads, out):
    base, stride, longest = states[s, 3], states[s, 4], states[s, 8]
    begin, end, now = states[s, 6], states[s, 7], at // states[s, 1]
    for _ in range(states[s, 2]):
        age = now - (row[base] - 1)
        if row[base] != 0 and 0 <= age < longest:
            for q in range(begin, end):
                if age >= reads[q, 0]:
                    continue
                if reads[q, 5] >= 0:  # one added word: by far the most
                    out[reads[q, 1]] += row[base + reads[q, 5]]
                else:
                    _join(row, base, reads[q], out)
        base += stride


@numba.njit(cache=True, nogil=True)
def _all_time(row, state_9, at, reads, out):
    base, horizon = state_9[3], state_9[5]
    for q in range(state_9[6], state_9[7]):
        word = row[base + reads[q, 4]]
        if horizon >= 0 and at - (word - 1) > horizon:
            continue  # only the time of the last event has a horizon: the word is that time + 1
        _join(row, base, reads[q], out)


@numba.njit(cache=True, nogil=True)
def _decay(row, state_9, at, reads, out):
    """Fold the accumulator and the live epochs, oldest first; floors nest, so this is exact."""
    span, slots, acc, stride = state_9[1], state_9[2], state_9[3], state_9[4]
    now, live = at // span, acc + stride
    newest = np.int64(-1)
    for i in range(slots):
        newest = max(newest, row[live + i * stride] - 1)
    for q in range(state_9[6], state_9[7]):
        part, place = reads[q, 4], reads[q, 1]
        for w in range(reads[q, 2]):
            total, epoch = np.int64(0), np.int64(0)
            if row[acc] > 0:
                total, epoch = row[acc + part + w], row[acc] - 1
            for old in range(max(newest - slots + 1, 0), min(newest, now) + 1):
                base = live + (old % slots) * stride
                if row[base] == old + 1:
                    total = total >> min(old - epoch, DECAY_LIMIT)
                    total += row[base + part + w]
                    epoch = old
            out[place + w] = total >> min(max(now - epoch, 0), DECAY_LIMIT)


@numba.njit(cache=True, nogil=True)
def _gap(row, state_9, at, reads, out):
    gap, offset, stride, horizon = state_9[1], state_9[3], state_9[4], state_9[5]
    open_at, closed_at = np.int64(-1), np.int64(-1)
    for i in range(state_9[2]):
        base = offset + i * stride
        if row[base] == 0 or at - (row[base + 1] - 1) > horizon:
            break
        if row[base] - 1 >= at:
            continue
        if open_at < 0 and at - (row[base + 1] - 1) <= gap:
            open_at = base
            continue
        closed_at = base
        break
    for q in range(state_9[6], state_9[7]):
        base = closed_at if reads[q, 0] == 1 else open_at
        if base >= 0:
            _join(row, base, reads[q], out)


@numba.njit(cache=True, nogil=True)
def read_sequence(
    rows: np.ndarray,
    row_B: np.ndarray,
    at_B: np.ndarray,
    offset: int,
    horizon: int,
    found_BL3: np.ndarray,
    count_B: np.ndarray,
) -> None:
    """Copy the entries before each moment to the right end of `found_BL3` (time, packed, dwell).

    Args:
        rows: int64 [R, width].
        row_B: int64, -1 reads nothing.
        at_B: int64 microseconds.
        offset: place of the sequence in a row.
        horizon: microseconds; -1 is for ever.
        found_BL3: int64, filled in place.
        count_B: int64, number of entries, filled in place.
    """
    length = found_BL3.shape[1]
    for b in range(len(row_B)):
        if row_B[b] < 0:
            continue
        row, taken = rows[row_B[b]], 0
        for i in range(min(row[offset], length) - 1, -1, -1):
            time = row[offset + 1 + i * 3]
            if time >= at_B[b]:
                continue
            if horizon >= 0 and at_B[b] - time > horizon:
                break
            taken += 1
            for w in range(3):
                found_BL3[b, length - taken, w] = row[offset + 1 + i * 3 + w]
        count_B[b] = taken
