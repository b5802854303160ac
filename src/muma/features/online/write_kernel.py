"""Events into rows (compiled). A row is a pure function of the set of events it took.

Each state takes an event in its own way (see the picture in `plan.py`); what a state can no longer
take is marked in `late_N`. Nothing here depends on order or batching, as long as sessions and
decayed sums get events at most `Plan.lateness` late.

Some thousand pairs go through one state after the other: what the loop needs to know of a state
stays in registers, and loads of rows, which wait for memory, overlap.
"""

from __future__ import annotations

# pragma: no cover - compiled
import numba
import numpy as np

from muma.features.kind_plan import ADD, ALL_TIME, BEST, BUCKET, DECAY, GAP, HLL, SLIDING
from muma.features.online.kernel_tables import KernelTables
from muma.features.window import DECAY_LIMIT, STEPS

CHUNK = 2048  # pairs at once
AHEAD = 32  # pairs whose rows are loaded together


@numba.njit(cache=True, nogil=True)
def write(
    rows: np.ndarray,
    row_M: np.ndarray,
    event_M: np.ndarray,
    time_N: np.ndarray,
    bits_WN: np.ndarray,
    columns_CN: np.ndarray,
    packed_N: np.ndarray,
    dwell_N: np.ndarray,
    tables: KernelTables,
    late_N: np.ndarray,
) -> int:
    """Let every pair (event, row) write.

    Args:
        rows: int64 [R, width], changed in place.
        row_M: int64, the row of each pair; -1 leaves it out.
        event_M: int64, the event of each pair.
        time_N: see `Prepared`, as the four that follow.
        bits_WN: bits of writes.
        columns_CN: integers.
        packed_N: sequence words.
        dwell_N: sequence dwell.
        tables: the kind's plan.
        late_N: bool, set where a state refused an event.

    Returns:
        Nothing of use: it keeps the early loads from being optimised away.
    """
    seen = np.int64(0)
    newest_M = np.empty(CHUNK, dtype=np.int64)
    enters_M = np.empty(CHUNK, dtype=np.int64)
    for start in range(0, len(row_M), CHUNK):
        end = min(start + CHUNK, len(row_M))
        for m in range(start, end):
            r = row_M[m]
            if r >= 0:
                newest = max(rows[r, 0], time_N[event_M[m]] + 1)
                rows[r, 0] = newest
                newest_M[m - start] = newest - 1
        for s in range(tables.states.shape[0]):
            count = _entering(s, start, end, row_M, event_M, bits_WN, tables, enters_M)
            kind = tables.states[s, 0]
            if kind == SLIDING:
                seen ^= _sliding(
                    s, enters_M[:count], start, newest_M, rows, row_M, event_M, time_N, bits_WN,
                    columns_CN, tables, late_N,
                )  # fmt: skip
                continue
            for i in range(count):
                n = event_M[enters_M[i]]
                row = rows[row_M[enters_M[i]]]
                taken = True
                if kind == ALL_TIME:
                    base = tables.states[s, 3]
                    _merge(row, base, s, n, np.int64(1), bits_WN, columns_CN, tables)
                elif kind == DECAY:
                    taken = _decay(row, s, n, time_N[n], bits_WN, columns_CN, tables)
                elif kind == GAP:
                    taken = _session(row, s, n, time_N[n], bits_WN, columns_CN, tables)
                else:
                    _sequence(row, s, time_N[n], packed_N[n], dwell_N[n], tables)
                if not taken:
                    late_N[n] = True
    return int(seen)


@numba.njit(cache=True, nogil=True)
def _entering(s, start, end, row_M, event_M, bits_WN, tables, enters_M):
    """Places of the pairs that write to state `s`, at the front of `enters_M`; returns how many."""
    count, words = 0, bits_WN.shape[0]
    for m in range(start, end):
        any_bit = np.uint64(0)
        for w in range(words):
            any_bit |= bits_WN[w, event_M[m]] & tables.state_mask[s, w]
        enters_M[count] = m  # kinds of event come at random: no branch to guess
        count += (any_bit != np.uint64(0)) & (row_M[m] >= 0)
    return count


@numba.njit(cache=True, nogil=True)
def _sliding(
    s, enters_I, start, newest_M, rows, row_M, event_M, time_N, bits_WN, columns_CN, tables, late_N
):
    """The pairs `enters_I` into a ring; events of one time share a slot, so it is kept from last."""
    span, slots, offset, stride = (
        tables.states[s, 1],
        tables.states[s, 2],
        tables.states[s, 3],
        tables.states[s, 4],
    )
    first, last = tables.states[s, 5], tables.states[s, 6]
    plain = True
    for p in range(first, last):
        plain = plain and tables.parts[p, 0] in (ADD, BEST)
    begin, pane, base = np.int64(-(1 << 62)), np.int64(0), np.int64(0)
    seen = np.int64(0)
    for i in range(len(enters_I)):
        if i % AHEAD == 0:
            for k in range(i, min(i + AHEAD, len(enters_I))):
                seen ^= rows[row_M[enters_I[k]], base]
        m = enters_I[i]
        n, r = event_M[m], row_M[m]
        time = time_N[n]
        if not 0 <= time - begin < span:
            pane = time // span
            begin = pane * span
            base = offset + (pane % slots) * stride
        tag, newest = rows[r, base], newest_M[m - start]
        # by the newest event too: its slot may be free, but no read reaches back to it
        if tag > pane + 1 or (
            newest - time > (slots - 1) * span and pane <= newest // span - slots
        ):
            late_N[n] = True
            continue
        if tag <= pane:
            rows[r, base] = pane + 1
            for w in range(1, stride):
                rows[r, base + w] = 0
        if not plain:
            _merge(rows[r], base, s, n, np.int64(1), bits_WN, columns_CN, tables)
            continue
        for p in range(first, last):
            bit = (bits_WN[tables.part_word[p], n] & tables.part_mask[p]) != np.uint64(0)
            value = columns_CN[tables.parts[p, 2], n]
            at = base + tables.parts[p, 4]
            if tables.parts[p, 0] == ADD:
                rows[r, at] += value * bit
            else:  # a word is never negative, so 0 changes nothing
                rows[r, at] = max(rows[r, at], tables.signs[p] * (value - tables.parts[p, 5]) * bit)
    return seen


@numba.njit(cache=True, nogil=True)
def _merge(row, base, s, n, weight, bits_WN, columns_CN, tables):
    """Merge the event's partials into the slot at `base`."""
    for p in range(tables.states[s, 5], tables.states[s, 6]):
        if not bits_WN[tables.part_word[p], n] & tables.part_mask[p]:
            continue
        op = tables.parts[p, 0]
        value = columns_CN[tables.parts[p, 2], n]
        at = base + tables.parts[p, 4]
        if op == ADD:
            row[at] += value * weight
        elif op == BEST:
            row[at] = max(row[at], tables.signs[p] * (value - tables.parts[p, 5]))
        elif op == BUCKET:
            row[at + min(value, tables.parts[p, 3] - 1)] += weight
        elif op == HLL:
            register = (value >> 8) & (tables.parts[p, 3] * 8 - 1)
            rank = value & 255
            shift = np.uint64((register & 7) * 8)
            old = np.uint64(row[at + (register >> 3)])
            if rank > np.int64((old >> shift) & np.uint64(255)):
                kept = old & ~(np.uint64(255) << shift)
                row[at + (register >> 3)] = np.int64(kept | (np.uint64(rank) << shift))


@numba.njit(cache=True, nogil=True)
def _decay(row, s, n, time, bits_WN, columns_CN, tables):
    """Add to the event's epoch; False when it has been folded already."""
    span, slots, acc, stride = (
        tables.states[s, 1],
        tables.states[s, 2],
        tables.states[s, 3],
        tables.states[s, 4],
    )
    epoch = time // span
    live = acc + stride
    newest = np.int64(-1)
    for i in range(slots):
        newest = max(newest, row[live + i * stride] - 1)
    if newest >= 0 and epoch <= newest - slots:
        return False
    if newest >= 0 and epoch > newest:
        for old in range(max(newest - slots + 1, 0), min(epoch - slots, newest) + 1):
            base = live + (old % slots) * stride
            if row[base] != old + 1:
                continue
            shift = old - (row[acc] - 1)
            for w in range(1, stride):
                past = row[acc + w] >> shift if row[acc] > 0 and shift < DECAY_LIMIT else 0
                row[acc + w] = past + row[base + w]
                row[base + w] = 0
            row[acc] = old + 1
            row[base] = 0
    base = live + (epoch % slots) * stride
    row[base] = epoch + 1
    weight = tables.weights[(time % span) * STEPS // span]
    _merge(row, base, s, n, weight, bits_WN, columns_CN, tables)
    return True


@numba.njit(cache=True, nogil=True)
def _session(row, s, n, time, bits_WN, columns_CN, tables):
    """Newest session first; an event joins one, joins two into one, or begins one."""
    gap, slots, offset, stride = (
        tables.states[s, 1],
        tables.states[s, 2],
        tables.states[s, 3],
        tables.states[s, 4],
    )
    place = 0  # the first session that does not begin after the event's reach
    while place < slots:
        base = offset + place * stride
        if row[base] == 0 or row[base] - 1 <= time + gap:
            break
        place += 1
    if place == slots:
        return False
    base = offset + place * stride
    if row[base] == 0 or time > row[base + 1] - 1 + gap:
        for i in range(slots - 1, place, -1):
            for w in range(stride):
                row[offset + i * stride + w] = row[offset + (i - 1) * stride + w]
        for w in range(stride):
            row[base + w] = 0
        row[base] = time + 1
        row[base + 1] = time + 1
        _merge(row, base, s, n, np.int64(1), bits_WN, columns_CN, tables)
        return True
    row[base] = min(row[base], time + 1)
    row[base + 1] = max(row[base + 1], time + 1)
    _merge(row, base, s, n, np.int64(1), bits_WN, columns_CN, tables)
    older = base + stride
    if place + 1 < slots and row[older] > 0 and row[base] - row[older + 1] <= gap:
        row[base] = min(row[base], row[older])
        for p in range(tables.states[s, 5], tables.states[s, 6]):
            at = tables.parts[p, 4]
            if tables.parts[p, 0] == ADD:
                row[base + at] += row[older + at]
            else:
                row[base + at] = max(row[base + at], row[older + at])
        for i in range(place + 1, slots):
            for w in range(stride):
                after = offset + (i + 1) * stride + w
                row[offset + i * stride + w] = row[after] if i + 1 < slots else 0
    return True


@numba.njit(cache=True, nogil=True)
def _sequence(row, s, time, packed, dwell, tables):
    """Oldest first, ordered by time, then the packed word, then dwell."""
    slots, offset = tables.states[s, 2], tables.states[s, 3]
    count, first = min(max(row[offset], 0), slots), offset + 1
    place = count  # where the event belongs
    while place > 0:
        at = first + (place - 1) * 3
        if row[at] < time or (
            row[at] == time
            and (row[at + 1] < packed or (row[at + 1] == packed and row[at + 2] <= dwell))
        ):
            break
        place -= 1
    if count == slots:
        if place == 0:
            return
        for w in range(first, first + (place - 1) * 3):
            row[w] = row[w + 3]
        place -= 1
    else:
        for w in range(first + count * 3 - 1, first + place * 3 - 1, -1):
            row[w + 3] = row[w]
        row[offset] = count + 1
    at = first + place * 3
    row[at] = time
    row[at + 1] = packed
    row[at + 2] = dwell
