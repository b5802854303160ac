"""Compiled preparation of the search: codes made dense, memberships sorted, orders to try.

Shape: N candidates, G groups, X memberships.
"""

from __future__ import annotations

import numba
import numpy as np

from muma.serving.rules.search import bits


@numba.njit(cache=True, nogil=True)
def dense(value_X: np.ndarray) -> tuple[np.ndarray, int]:
    """Equal values get equal codes from 0, in order of first appearance: codes [X], how many.

    Example:
        >>> dense(np.array([7, 3, 7]))[0].tolist()
        [0, 1, 0]
    """
    size = 16
    while size < 2 * len(value_X):
        size *= 2
    slot_S = np.full(size, -1, np.int64)  # open addressing: slot -> code
    first_g = np.empty(len(value_X), np.int64)
    code_X = np.empty(len(value_X), np.int64)
    made = 0
    for x in range(len(value_X)):
        value = value_X[x]
        at = ((value ^ (value >> 29)) * 0x9E3779B1) & (size - 1)
        while slot_S[at] >= 0 and first_g[slot_S[at]] != value:
            at = (at + 1) & (size - 1)
        if slot_S[at] < 0:
            slot_S[at] = made
            first_g[made] = value
            made += 1
        code_X[x] = slot_S[at]
    return code_X, made


@numba.njit(cache=True, nogil=True)
def tight(code_X: np.ndarray, made: int, high: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Groups with more members than `high`: their memberships kept, new codes of these, how many."""
    count_g = np.zeros(made, np.int64)
    for x in range(len(code_X)):
        count_g[code_X[x]] += 1
    new_g = np.full(made, -1, np.int64)
    kept = 0
    for g in range(made):
        if count_g[g] > high:
            new_g[g] = kept
            kept += 1
    keep_X = np.zeros(len(code_X), np.bool_)
    for x in range(len(code_X)):
        keep_X[x] = new_g[code_X[x]] >= 0
    return keep_X, new_g[code_X[keep_X]], kept


@numba.njit(cache=True, nogil=True)
def gather(
    serves_N: np.ndarray, place_X: np.ndarray, group_X: np.ndarray, bits_G: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sort memberships by candidate, and find candidates that count for the same.

    Args:
        serves_N: minimums of each candidate, as bits.
        place_X: candidates of the memberships in groups with a maximum.
        group_X: their groups.
        bits_G: 64 random bits a group; equal sums are taken for equal groups.

    Returns:
        `first_N1`, `group_X`, `sig_N`, `early_N` and `late_N` of `search.Problem`.
    """
    n = len(serves_N)
    first_N1 = np.zeros(n + 1, np.int64)
    for x in range(len(place_X)):
        first_N1[place_X[x] + 1] += 1
    for c in range(n):
        first_N1[c + 1] += first_N1[c]
    filled_N = first_N1[:n].copy()
    sorted_X = np.empty(len(place_X), np.int64)
    key_N = np.empty(n, np.int64)
    early_key_N, late_key_N = np.empty(n, np.int64), np.empty(n, np.int64)
    for c in range(n):
        key_N[c] = serves_N[c] * np.int64(0x1E3779B97F4A7C15)
    for x in range(len(place_X)):
        c = place_X[x]
        sorted_X[filled_N[c]] = group_X[x]
        filled_N[c] += 1
        key_N[c] += bits_G[group_X[x]]
    for c in range(n):
        late_key_N[c] = first_N1[c + 1] - first_N1[c]
        early_key_N[c] = late_key_N[c] - bits(serves_N[c]) * (len(place_X) + 1)
    sig_N, _ = dense(key_N)
    early_N = np.argsort(early_key_N, kind="mergesort")
    late_N = np.argsort(late_key_N, kind="mergesort")
    return first_N1, sorted_X, sig_N, early_N, late_N
