"""The best k of many scores, exactly: ties go to the lower index, also where the list ends.

A cheap lower bound of the k-th score comes from maxima of column groups (any k groups hold k items
at least as good as the k-th best group maximum). Only the few items that reach the bound are
partitioned and sorted, so that one pass over the scores is nearly the whole cost.

Shape: B users, I items, K list length, M survivors of the bound.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from muma.errors import ConfigError, DataError

NO_ITEM = -1  # pads a list that is shorter than asked for

_CELLS = 1 << 20  # scores looked at together: a few MiB, so that the second pass finds them cached
_SPARE = 4  # column groups per list slot: more sharpen the bound and cost more to partition


def top_k(
    score_BI: np.ndarray, k: int, exclude: csr_array | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the `k` best items of each row, best first.

    NaN and -inf are never returned. Equal scores are ordered by the lower item index. Scores are
    compared in their own floating type; integers are compared as float64.

    Args:
        score_BI: scores [B, I].
        k: length of each list, at least 0; may exceed I.
        exclude: boolean [B, I]; items where it is true are not returned.

    Returns:
        item_BK, int64, padded with -1; and score_BK, float32, padded with -inf.

    Raises:
        ConfigError: `k` is negative.
        DataError: the scores are not a matrix, or `exclude` has another shape.

    Example:
        >>> item_BK, score_BK = top_k(np.array([[0.1, 0.9, 0.9, np.nan]], dtype=np.float32), 2)
        >>> item_BK.tolist()
        [[1, 2]]
    """
    score_BI = np.asarray(score_BI)
    if k < 0:
        raise ConfigError(f"k is {k}; it must be 0 or more")
    if score_BI.ndim != 2:
        raise DataError(f"scores have shape {score_BI.shape}; they must be a matrix [B, I]")
    if exclude is not None and exclude.shape != score_BI.shape:
        raise DataError(f"exclude has shape {exclude.shape}, the scores have {score_BI.shape}")
    if not np.issubdtype(score_BI.dtype, np.floating):
        score_BI = score_BI.astype(np.float64)
    n_users, n_items = score_BI.shape
    item_BK = np.full((n_users, k), -1, dtype=np.int64)
    best_BK = np.full((n_users, k), -np.inf, dtype=np.float32)
    if k == 0 or n_items == 0:
        return item_BK, best_BK
    step = max(1, _CELLS // n_items)
    for start in range(0, n_users, step):
        rows = slice(start, min(start + step, n_users))
        part_BI = _masked(score_BI[rows], exclude, rows)
        item_BM, score_BM = _survivors(part_BI, k)
        width = min(k, item_BM.shape[1])
        item_BK[rows, :width], best_BK[rows, :width] = _best(item_BM, score_BM, width)
    return item_BK, best_BK


def _masked(score_BI: np.ndarray, exclude: csr_array | None, rows: slice) -> np.ndarray:
    if exclude is None:
        return score_BI
    pointer = exclude.indptr[rows.start : rows.stop + 1]
    cells = slice(pointer[0], pointer[-1])
    row = np.repeat(np.arange(score_BI.shape[0]), np.diff(pointer))
    true = exclude.data[cells].astype(bool)
    score_BI = score_BI.copy()
    score_BI[row[true], exclude.indices[cells][true]] = -np.inf
    return score_BI


def _survivors(score_BI: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Items that reach the bound, in index order, padded with -1 and -inf on the right."""
    n_rows, n_items = score_BI.shape
    bound_B = _bound(score_BI, k)
    mask_BI = score_BI >= bound_B[:, None]
    cell = np.flatnonzero(mask_BI)
    count_B = np.count_nonzero(mask_BI, axis=1)
    if count_B.max(initial=0) > _SPARE * k:
        cell = cell[~_surplus(score_BI, bound_B, cell, count_B, k)]
        count_B = np.bincount(cell // n_items, minlength=n_rows)
    row = np.repeat(np.arange(n_rows), count_B)
    column = _place(count_B)
    item_BM = np.full((n_rows, int(count_B.max(initial=0))), -1, dtype=np.int64)
    score_BM = np.full(item_BM.shape, -np.inf, dtype=score_BI.dtype)
    item = cell - row * n_items
    item_BM[row, column] = item
    score_BM[row, column] = score_BI[row, item]
    return item_BM, score_BM


def _surplus(
    score_BI: np.ndarray, bound_B: np.ndarray, cell: np.ndarray, count_B: np.ndarray, k: int
) -> np.ndarray:
    """Which survivors equal the bound and have k such items before them: never in the list."""
    tied = score_BI.reshape(-1)[cell] == np.repeat(bound_B, count_B)
    before = np.cumsum(tied, dtype=np.int32)
    first_B = np.concatenate([[0], before])[np.cumsum(count_B) - count_B]
    return tied & (before - np.repeat(first_B, count_B) > k)


def _place(count_B: np.ndarray) -> np.ndarray:
    """0, 1, 2 ... within each row, rows one after another."""
    return np.arange(count_B.sum()) - np.repeat(np.cumsum(count_B) - count_B, count_B)


def _bound(score_BI: np.ndarray, k: int) -> np.ndarray:
    """A value that the k best of each row reach; never -inf, so that -inf and NaN fail it."""
    n_users, n_items = score_BI.shape
    lowest = np.finfo(score_BI.dtype).min
    depth = n_items // (_SPARE * k)
    if depth < 2:
        return np.full(n_users, lowest, dtype=score_BI.dtype)
    n_groups = n_items // depth
    grouped = score_BI[:, : depth * n_groups].reshape(n_users, depth, n_groups)
    maxima = np.fmax.reduce(grouped, axis=1)
    np.nan_to_num(maxima, copy=False, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    maxima.partition(n_groups - k, axis=1)
    return np.maximum(maxima[:, n_groups - k], lowest)


def _best(item_BM: np.ndarray, score_BM: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut to exactly `k` columns, lower index first among equals, then sort stably."""
    n_rows, width = score_BM.shape
    if k < width:
        kth_B = np.partition(score_BM, width - k, axis=1)[:, width - k, None]
        above_BM = score_BM > kth_B
        equal_BM = score_BM == kth_B
        room_B = k - np.count_nonzero(above_BM, axis=1)
        keep_BM = above_BM | (equal_BM & (np.cumsum(equal_BM, axis=1) <= room_B[:, None]))
        item_BM, score_BM = (
            item_BM[keep_BM].reshape(n_rows, k),
            score_BM[keep_BM].reshape(n_rows, k),
        )
    order = np.argsort(-score_BM, axis=1, kind="stable")
    return np.take_along_axis(item_BM, order, 1), np.take_along_axis(score_BM, order, 1)
