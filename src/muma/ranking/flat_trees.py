"""Boosted trees of either library as flat arrays, scored by one compiled kernel.

QuickScorer (Lucchese et al., "QuickScorer: a fast algorithm to rank documents with additive ensembles
of regression trees", SIGIR 2015): a bit for each leaf of a tree, a split that sends a row to the right
clears the leaves on its left, and the lowest bit left is the leaf. Here the loop over rows is the
inner one, hence the compiler turns it into vector instructions; nothing branches.

Exactness. A test is `x <= t` in float32: XGBoost's `x < t` becomes `x <= prev(t)`, LightGBM's float64
threshold is rounded down to a float32, which no float32 value can tell apart. Each feature lies twice,
missing values as -inf (these go left) and as +inf (these go right). Sums are float64.

Shape: N rows, F features, T trees, S splits, B bits (leaves) of a tree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from muma.errors import DataError
from muma.ranking.trees import Tree

MOST_LEAVES = 64
_DE_BRUIJN_32 = 0x077CB531
_DE_BRUIJN_64 = 0x03F79D71B4CB0A89
_BLOCK = 256
_BEYOND = 1 << 24


@dataclass(frozen=True)
class FlatTrees:
    """An ensemble ready to be scored.

    Attributes:
        threshold_S: float32; a row goes left where its value is at most this.
        column_S: int32; feature, plus F if a missing value goes right.
        code_S: int32; place in `coded_C` of a split by category, -1 for a split by number.
        set_S: int32; first word of the split's set of categories in `word_W`.
        last_S: int32; last bit of that set. Bit 0 is a missing value, bit c + 1 category c, the last
            bit every category beyond.
        mask_S: uint32 or uint64; the leaves that remain after a step to the right.
        start_T: int64 [T + 1]; the splits of each tree.
        value_TB: float64; leaf values, at the place where the multiplication puts their bit.
        word_W: uint32; bits of the categories that go left.
        coded_C: int64; features that some split takes as categories.
        base: added to every margin.
        width: number of features.
    """

    threshold_S: np.ndarray
    column_S: np.ndarray
    code_S: np.ndarray
    set_S: np.ndarray
    last_S: np.ndarray
    mask_S: np.ndarray
    start_T: np.ndarray
    value_TB: np.ndarray
    word_W: np.ndarray
    coded_C: np.ndarray
    base: float
    width: int

    def margin(self, value_NF: np.ndarray) -> np.ndarray:
        """Margins of rows: float64 [N].

        Args:
            value_NF: float32 [N, F], C-contiguous; NaN is a missing value.
        """
        margin_N = np.full(len(value_NF), self.base)
        _score(
            value_NF,
            self.threshold_S,
            self.column_S,
            self.code_S,
            self.set_S,
            self.last_S,
            self.mask_S,
            self.start_T,
            self.value_TB,
            self.word_W,
            self.coded_C,
            margin_N,
        )
        return margin_N

    def goes_left(self, value_NF: np.ndarray) -> np.ndarray:
        """Which splits of each tree send a row left: uint64 [N, T], a bit for each split in order.

        Args:
            value_NF: float32 [N, F], C-contiguous; NaN is a missing value.
        """
        left_NT = np.zeros((len(value_NF), len(self.start_T) - 1), dtype=np.uint64)
        _tests(
            value_NF,
            self.threshold_S,
            self.column_S,
            self.code_S,
            self.set_S,
            self.last_S,
            self.start_T,
            self.word_W,
            self.coded_C,
            left_NT,
        )
        return left_NT


def flatten(trees: list[Tree], base: float, width: int) -> FlatTrees:
    """Lay trees out for the kernel.

    Args:
        trees: the ensemble.
        base: added to every margin.
        width: number of features.

    Raises:
        DataError: a tree has more than 64 leaves.

    Example:
        >>> stump = Tree.of_stump(column=0, threshold=0.5, left=-1.0, right=1.0)
        >>> flat = flatten([stump], 0.25, 1)
        >>> flat.margin(np.array([[0.5], [0.6], [np.nan]], np.float32)).tolist()
        [-0.75, 1.25, 1.25]
    """
    leaves = max((tree.leaves for tree in trees), default=1)
    if leaves > MOST_LEAVES:
        raise DataError(
            f"a tree has {leaves} leaves, the compiled form takes {MOST_LEAVES}; fit with "
            f"leaves = {MOST_LEAVES} at most, or score through the library"
        )
    bits = 32 if leaves <= 32 else 64
    magic = _DE_BRUIJN_32 if bits == 32 else _DE_BRUIJN_64
    full, shift = (1 << bits) - 1, bits - bits.bit_length() + 1
    coded_C = sorted({int(tree.column[node]) for tree in trees for node in tree.categories})
    splits: list[tuple[float, int, int, int, int, int]] = []
    words: list[int] = []
    start_T, value_TB = [0], np.zeros((len(trees), bits))
    for place, tree in enumerate(trees):
        for node, first, middle in tree.spans():
            column, code, at, last = int(tree.column[node]), -1, 0, 0
            if node in tree.categories:
                code, at = coded_C.index(column), len(words)
                bit = tree.category_bits(node)
                last = len(bit) - 1
                words += _packed(bit)
            elif not tree.missing_left[node]:
                column += width
            keep = full & ~(((1 << middle) - 1) ^ ((1 << first) - 1))
            splits.append((float(tree.threshold[node]), column, code, at, last, keep))
        start_T.append(len(splits))
        for bit, value in enumerate(tree.leaf_values()):
            value_TB[place, ((magic << bit) & full) >> shift] = value
    return FlatTrees(
        np.array([s[0] for s in splits], dtype=np.float32),
        np.array([s[1] for s in splits], dtype=np.int32),
        np.array([s[2] for s in splits], dtype=np.int32),
        np.array([s[3] for s in splits], dtype=np.int32),
        np.array([s[4] for s in splits], dtype=np.int32),
        np.array([s[5] for s in splits], dtype=np.uint32 if bits == 32 else np.uint64),
        np.array(start_T, dtype=np.int64),
        value_TB,
        np.array(words, dtype=np.uint32),
        np.array(coded_C, dtype=np.int64),
        base,
        width,
    )


def _packed(flag: np.ndarray) -> list[int]:
    """Flags as bits of uint32 words."""
    padded = np.zeros(-(-len(flag) // 32) * 32, dtype=bool)
    padded[: len(flag)] = flag
    return np.packbits(padded, bitorder="little").view(np.uint32).tolist()


@numba.njit(cache=True, nogil=True)
def _score(
    value_NF: np.ndarray,
    threshold_S: np.ndarray,
    column_S: np.ndarray,
    code_S: np.ndarray,
    set_S: np.ndarray,
    last_S: np.ndarray,
    mask_S: np.ndarray,
    start_T: np.ndarray,
    value_TB: np.ndarray,
    word_W: np.ndarray,
    coded_C: np.ndarray,
    margin_N: np.ndarray,
) -> None:
    n, width = value_NF.shape
    bits = value_TB.shape[1]
    full = np.full(1, -1).astype(mask_S.dtype)[0]
    wide = np.uint64(full)  # integers of 32 bits are multiplied in 64
    magic = np.uint64(_DE_BRUIJN_32 if bits == 32 else _DE_BRUIJN_64)
    shift = np.uint64(27 if bits == 32 else 58)
    across = np.empty((2 * width, _BLOCK), dtype=np.float32)
    coded = np.empty((len(coded_C), _BLOCK), dtype=np.int32)
    left = np.empty(_BLOCK, dtype=mask_S.dtype)
    for start in range(0, n, _BLOCK):
        size = min(_BLOCK, n - start)
        _turn(value_NF, start, size, across)
        _encode(value_NF, start, size, coded_C, coded)
        for tree in range(len(start_T) - 1):
            left[:size] = full
            for split in range(start_T[tree], start_T[tree + 1]):
                keep = mask_S[split]
                if code_S[split] >= 0:
                    code = coded[code_S[split]]
                    words, last = word_W[set_S[split] :], last_S[split]
                    for row in range(size):
                        # without a sign no index counts from the end, which would take a branch
                        bit = np.uint32(min(code[row], last))
                        word = words[np.uintp(bit >> np.uint32(5))]
                        goes = (word >> (bit & np.uint32(31))) & np.uint32(1)
                        left[row] &= full if goes else keep
                else:
                    x, limit = across[column_S[split]], threshold_S[split]
                    for row in range(size):
                        left[row] &= full if x[row] <= limit else keep
            value = value_TB[tree]
            for row in range(size):
                rest = np.uint64(left[row])
                lowest = rest & (~rest + np.uint64(1))
                margin_N[start + row] += value[((lowest * magic) & wide) >> shift]


@numba.njit(cache=True, nogil=True)
def _turn(value_NF: np.ndarray, start: int, size: int, across: np.ndarray) -> None:
    """Lay a block of rows feature by feature, with both readings of a missing value."""
    width = value_NF.shape[1]
    for column in range(width):  # in the order of writing: a column's rows lie in few cache lines
        low, high = across[column], across[width + column]
        for row in range(size):
            x = value_NF[start + row, column]
            missing = np.isnan(x)
            low[row] = -np.inf if missing else x
            high[row] = np.inf if missing else x


@numba.njit(cache=True, nogil=True)
def _encode(
    value_NF: np.ndarray, start: int, size: int, coded_C: np.ndarray, coded: np.ndarray
) -> None:
    """Bits of categories: 0 for a missing one, c + 1 for category c; what is none lies beyond."""
    for place in range(len(coded_C)):
        for row in range(size):
            x = value_NF[start + row, coded_C[place]]
            if np.isnan(x):
                coded[place, row] = 0
            elif 0 <= x < _BEYOND:
                coded[place, row] = np.int32(x) + 1
            else:
                coded[place, row] = _BEYOND


@numba.njit(cache=True, nogil=True)
def _tests(
    value_NF: np.ndarray,
    threshold_S: np.ndarray,
    column_S: np.ndarray,
    code_S: np.ndarray,
    set_S: np.ndarray,
    last_S: np.ndarray,
    start_T: np.ndarray,
    word_W: np.ndarray,
    coded_C: np.ndarray,
    left_NT: np.ndarray,
) -> None:
    n, width = value_NF.shape
    across = np.empty((2 * width, 1), dtype=np.float32)
    coded = np.empty((len(coded_C), 1), dtype=np.int32)
    for row in range(n):
        _turn(value_NF, row, 1, across)
        _encode(value_NF, row, 1, coded_C, coded)
        for tree in range(len(start_T) - 1):
            passed = np.uint64(0)
            for split in range(start_T[tree], start_T[tree + 1]):
                if code_S[split] >= 0:
                    bit = min(coded[code_S[split], 0], last_S[split])
                    word = word_W[set_S[split] + (bit >> 5)]
                    left = ((word >> np.uint32(bit & 31)) & np.uint32(1)) != 0
                else:
                    left = across[column_S[split], 0] <= threshold_S[split]
                if left:
                    passed |= np.uint64(1) << np.uint64(split - start_T[tree])
            left_NT[row, tree] = passed
