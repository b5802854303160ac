"""The hash of the distinct-count sketch: MurmurHash3 x64 128 of one 64-bit number, seed 9001.

Register and rank are taken from it as Apache DataSketches' HLL does: the register from the low bits
of the first half, the rank from the leading zeros of the second.
"""

from __future__ import annotations

import numba
import numpy as np

SEED = 9001
ADDRESS_BITS = 26

_C1, _C2 = np.uint64(0x87C37B91114253D5), np.uint64(0x4CF5AD432745937F)
_M1, _M2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)


@numba.njit(cache=True, nogil=True)
def _mixed(h: np.uint64) -> np.uint64:  # pragma: no cover - compiled
    h ^= h >> np.uint64(33)
    h *= _M1
    h ^= h >> np.uint64(33)
    h *= _M2
    return h ^ (h >> np.uint64(33))


@numba.njit(cache=True, nogil=True)
def coupons(ids_N: np.ndarray) -> np.ndarray:  # pragma: no cover - compiled
    """`address << 8 | rank` of each id.

    Args:
        ids_N: int64 ids.

    Returns:
        int64 [N]: 26 bits of address above 8 bits of rank (1 ... 63).
    """
    found = np.empty(len(ids_N), dtype=np.int64)
    for n in range(len(ids_N)):
        k1 = np.uint64(ids_N[n]) * _C1
        k1 = (k1 << np.uint64(31)) | (k1 >> np.uint64(33))
        h1 = np.uint64(SEED) ^ (k1 * _C2)
        h2 = np.uint64(SEED)
        h1 ^= np.uint64(8)
        h2 ^= np.uint64(8)
        h1 += h2
        h2 += h1
        h1 = _mixed(h1)
        h2 = _mixed(h2)
        h1 += h2
        h2 += h1
        zeros = 0
        probe = np.uint64(1) << np.uint64(63)
        while zeros < 62 and not h2 & (probe >> np.uint64(zeros)):
            zeros += 1
        address = h1 & np.uint64((1 << ADDRESS_BITS) - 1)
        found[n] = np.int64(address << np.uint64(8)) | np.int64(zeros + 1)
    return found
