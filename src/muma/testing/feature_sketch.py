"""The distinct count once more, in plain Python: hash, registers, estimate.

MurmurHash3 x64 128 (Appleby 2011) of one 64-bit number under seed 9001; register and rank as in
Apache DataSketches' HLL_8; the estimate of Flajolet, Fusy, Gandouet and Meunier (2007), without
corrections for large numbers, which 64-bit hashes do not need.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

MASK = 2**64 - 1
SEED = 9001
MOST = 40  # ranks above it count as it


def murmur(number: int) -> tuple[int, int]:
    """Both halves of the hash of a 64-bit number, laid out as eight bytes, lowest first.

    Example:
        >>> murmur(7) == murmur(7 + 2**64)
        True
    """
    mixed = number * 0x87C37B91114253D5 & MASK
    mixed = (mixed << 31 | mixed >> 33) & MASK
    first = SEED ^ (mixed * 0x4CF5AD432745937F & MASK) ^ 8
    second = SEED ^ 8
    first = (first + second) & MASK
    second = (second + first) & MASK
    first, second = _final(first), _final(second)
    first = (first + second) & MASK
    return first, (second + first) & MASK


def registers(ids: Iterable[int], size: int) -> list[int]:
    """Registers of a sketch that has seen `ids`; `size` is a power of two."""
    found = [0] * size
    for number in ids:
        first, second = murmur(number)
        place = (first & (2**26 - 1)) % size
        rank = min(64 - second.bit_length(), 62) + 1
        found[place] = max(found[place], rank)
    return found


def estimate(ranks: list[int]) -> float:
    """About how many different ids the registers have seen."""
    size = len(ranks)
    alpha = {16: 0.673, 32: 0.697, 64: 0.709}.get(size, 0.7213 / (1 + 1.079 / size))
    harmonic = math.fsum(2.0 ** -min(rank, MOST) for rank in ranks)
    raw = alpha * size * size / harmonic
    empty = ranks.count(0)
    return size * math.log(size / empty) if raw <= 2.5 * size and empty else raw


def _final(number: int) -> int:
    number = (number ^ number >> 33) * 0xFF51AFD7ED558CCD & MASK
    number = (number ^ number >> 33) * 0xC4CEB9FE1A85EC53 & MASK
    return number ^ number >> 33
