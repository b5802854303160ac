"""Events into rows (compiled). A row is a pure function of the set of events it took.

Each state takes an event in its own way (see the picture in `plan.py`); what a state can no longer
take is marked in `late_N`. Nothing here depends on order or batching, as long as sessions and
decayed sums get events at most `Plan.lateness` late.
"""

from __future__ import annotations

# pragma: no cover - compiled
import numba
import numpy as np

from muma.features.online.kernel_tables import KernelTables
from muma.features.plan import ADD, ALL_TIME, BEST, BUCKET, DECAY, GAP, HLL, SLIDING
from muma.features.window import DECAY_LIMIT, STEPS

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
    words, seen = bits_WN.shape[0], np.int64(0)
    for m in range(len(row_M)):
        if m % AHEAD == 0:
            seen ^= _touch(rows, row_M, event_M, time_N, tables, m, min(m + AHEAD, len(row_M)))
        r = row_M[m]
        if r < 0:
            continue
        n = event_M[m]
        row = rows[r]
        time = time_N[n]
        row[0] = max(row[0], time + 1)
        for s in range(tables.states.shape[0]):
            enters = False
            for w in range(words):
                if bits_WN[w, n] & tables.state_mask[s, w]:
                    enters = True
            if not enters:
                continue
            kind = tables.states[s, 0]
            taken = True
            if kind == SLIDING:
                taken = _sliding(row, s, n, time, bits_WN, columns_CN, tables)
            elif kind == ALL_TIME:
                base = tables.states[s, 3]
                _merge(row, base, s, n, np.int64(1), bits_WN, columns_CN, tables)
            elif kind == DECAY:
                taken = _decay(row, s, n, time, bits_WN, columns_CN, tables)
            elif kind == GAP:
                taken = _gap(row, s, n, time, bits_WN, columns_CN, tables)
            else:
                _sequence(row, s, time, packed_N[n], dwell_N[n], tables)
            if not taken:
                late_N[n] = True
    return int(seen)


@numba.njit(cache=True, nogil=True)
def _touch(rows, row_M, event_M, time_N, tables, start, end):
    """Load what the next pairs will change: loads that wait for nothing overlap, writes do not."""
    seen = np.int64(0)
    for m in range(start, end):
        r = row_M[m]
        if r < 0:
            continue
        seen ^= rows[r, 0]
        for s in range(tables.states.shape[0]):
            offset = tables.states[s, 3]
            if tables.states[s, 0] == SLIDING:
                slot = (time_N[event_M[m]] // tables.states[s, 1]) % tables.states[s, 2]
                offset += slot * tables.states[s, 4]
            seen ^= rows[r, offset]
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
def _sliding(row, s, n, time, bits_WN, columns_CN, tables):
    pane = time // tables.states[s, 1]
    stride = tables.states[s, 4]
    base = tables.states[s, 3] + (pane % tables.states[s, 2]) * stride
    tag = row[base]
    if tag > pane + 1:
        return False
    if tag <= pane:
        row[base] = pane + 1
        for w in range(1, stride):
            row[base + w] = 0
    _merge(row, base, s, n, np.int64(1), bits_WN, columns_CN, tables)
    return True


@numba.njit(cache=True, nogil=True)
def _decay(row, s, n, time, bits_WN, columns_CN, tables):
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
def _gap(row, s, n, time, bits_WN, columns_CN, tables):
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
    count, first = row[offset], offset + 1
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
