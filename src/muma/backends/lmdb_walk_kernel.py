"""The compiled inner loops of `lmdb_walk`: write a key's text, search a B+tree, gather values.

Pages as in LMDB 0.9: a header of 16 bytes (flags at 10, end of the offsets at 12), two bytes of
offset for each node, nodes of 8 bytes (two halves of a size or page, flags, length of the key), key
and value; a value that does not fit lies in pages of its own, behind one header.

Shape: N keys.
"""

from __future__ import annotations

import numba
import numpy as np

FINE, BEYOND, DAMAGED = 0, 1, 2
"""How a walk ended: BEYOND is a page that the mapped part of the file lacks."""
_HEADER, _NODE = 16, 8
_BRANCH, _LEAF, _BIG = 1, 2, 1
_DEEPEST = 32


@numba.njit(cache=True, nogil=True)
def _two(data, at):
    return np.int64(data[at]) | np.int64(data[at + 1]) << 8


@numba.njit(cache=True, nogil=True)
def _digits(value, text, at):
    size, rest = 1, value
    while rest >= np.uint64(10):
        rest //= np.uint64(10)
        size += 1
    for place in range(size - 1, -1, -1):
        text[at + place] = np.uint8(48) + np.uint8(value % np.uint64(10))
        value //= np.uint64(10)
    return at + size


@numba.njit(cache=True, nogil=True)
def _put(part, text, at):
    text[at : at + len(part)] = part
    return at + len(part)


@numba.njit(cache=True, nogil=True)
def _order(data, at, size, text, length):
    """Below, at or above 0, as the key at `at` stands to the text."""
    for place in range(min(size, length)):
        if data[at + place] != text[place]:
            return np.int64(data[at + place]) - np.int64(text[place])
    return size - length


@numba.njit(cache=True, nogil=True)
def _search(data, page, size, count, low, text, length):
    """The last node from `low` on whose key is not above the text (else `low - 1`), and whether it is equal.

    -2 when a node lies outside of its page.
    """
    high, equal = count - 1, False
    found = low - 1
    while low <= high:
        middle = (low + high) >> 1
        node = page + _two(data, page + _HEADER + 2 * middle)
        if node + _NODE > page + size:
            return -2, False
        key = _two(data, node + 6)
        if node + _NODE + key > page + size:
            return -2, False
        order = _order(data, node + _NODE, key, text, length)
        if order <= 0:
            found, equal = middle, order == 0
            low = middle + 1
        else:
            high = middle - 1
    return found, equal


@numba.njit(cache=True, nogil=True)
def _find_one(data, root, size, text, length):
    """State, and where a value begins and how long it is; length 0 for none."""
    number = root
    for _ in range(_DEEPEST):
        page = number * size
        if page < 0 or page + size > len(data):
            return BEYOND, 0, 0
        flags, lower = _two(data, page + 10), _two(data, page + 12)
        count = (lower - _HEADER) >> 1
        if count < 0 or lower > size:
            return DAMAGED, 0, 0
        if flags == _BRANCH:
            place, _ = _search(data, page, size, count, 1, text, length)  # the first holds no key
            if place == -2 or count == 0:
                return DAMAGED, 0, 0
            node = page + _two(data, page + _HEADER + 2 * place)
            if node + _NODE > page + size:  # the first one has not been looked at
                return DAMAGED, 0, 0
            number = _two(data, node) | _two(data, node + 2) << 16 | _two(data, node + 4) << 32
            continue
        if flags != _LEAF:
            return DAMAGED, 0, 0
        place, equal = _search(data, page, size, count, 0, text, length)
        if place == -2:
            return DAMAGED, 0, 0
        if not equal:
            return FINE, 0, 0
        node = page + _two(data, page + _HEADER + 2 * place)
        value = _two(data, node) | _two(data, node + 2) << 16
        start = node + _NODE + _two(data, node + 6)
        if _two(data, node + 4) & _BIG:
            if start + 8 > page + size:
                return DAMAGED, 0, 0
            far = np.int64(0)
            for byte in range(8):
                far |= np.int64(data[start + byte]) << (8 * byte)
            start = far * size + _HEADER
        if start < 0 or start + value > len(data):
            return BEYOND, 0, 0
        return FINE, start, value
    return DAMAGED, 0, 0


@numba.njit(cache=True, nogil=True)
def find(data, root, size, keys, head, middle, tail, pair, starts, lengths):
    """Where the value of each key begins and how long it is, into `starts` and `lengths` (0 for none).

    Returns:
        How the walk ended, and the bytes of all values.
    """
    text = np.empty(len(head) + len(middle) + len(tail) + 40, dtype=np.uint8)
    begin, total = _put(head, text, 0), 0
    for n in range(len(keys)):
        if n and keys[n] == keys[n - 1]:
            starts[n], lengths[n] = starts[n - 1], lengths[n - 1]
            total += lengths[n]
            continue
        if pair:
            at = _digits(keys[n] >> np.uint64(32), text, begin)
            at = _put(middle, text, at)
            at = _digits(keys[n] & np.uint64(0xFFFFFFFF), text, at)
        else:
            at = _digits(keys[n], text, begin)
        length = _put(tail, text, at)
        state, starts[n], lengths[n] = _find_one(data, root, size, text, length)
        if state != FINE:
            return state, 0
        total += lengths[n]
    return FINE, total


@numba.njit(cache=True, nogil=True)
def gather(data, starts, lengths, into):
    """Lay the values end to end; `starts` says afterwards where."""
    at = 0
    for n in range(len(starts)):
        into[at : at + lengths[n]] = data[starts[n] : starts[n] + lengths[n]]
        starts[n] = at
        at += lengths[n]
