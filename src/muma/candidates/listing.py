"""From scores to lists: the best k of each user, in blocks of users of bounded size.

Rule of ties, one for every model: equal scores go to the item with more interactions in the fit
log, then to the lower index. A user without history has the same score everywhere, so that this
rule alone gives a cold user the most popular items.

Shape: B users, I items, F items that may be proposed (most popular first), K list length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy.sparse import csr_array

from muma.candidates.candidate import Candidates
from muma.errors import ConfigError, DataError
from muma.topk import NO_ITEM, top_k

CELLS = 1 << 22  # scores held at once: 16 MiB as float32

Sources = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""User indices [B] to named scores [B, F]; the first entry orders the items."""


def by_popularity(count_I: np.ndarray) -> np.ndarray:
    """Item indices by falling count, equal counts by rising index.

    Example:
        >>> by_popularity(np.array([1, 5, 0, 5])).tolist()
        [1, 3, 0, 2]
    """
    return np.argsort(-count_I, kind="stable")


def lists(
    sources: Sources,
    item_F: np.ndarray,
    user_B: np.ndarray,
    k: int,
    *,
    n_items: int,
    exclude: csr_array | None = None,
    cells: int = CELLS,
) -> Candidates:
    """Best `k` items of each user.

    Args:
        sources: scores of a block of users, columns aligned with `item_F`.
        item_F: the items that may be proposed, most popular first.
        user_B: dense user indices.
        k: length of each list, at least 0.
        n_items: I.
        exclude: boolean [B, I], rows aligned with `user_B`: items not to propose.
        cells: scores to hold at once, which bounds the users of a block.

    Raises:
        ConfigError: `k` is negative.
        DataError: `exclude` is not [B, I].
    """
    if k < 0:
        raise ConfigError(f"k is {k}; it must be 0 or more")
    if exclude is not None and exclude.shape != (len(user_B), n_items):
        raise DataError(f"exclude has shape {exclude.shape}, not {(len(user_B), n_items)}")
    column_I = np.full(n_items, -1)
    column_I[item_F] = np.arange(len(item_F))
    step = max(1, cells // max(1, n_items))
    parts = []
    for start in range(0, max(1, len(user_B)), step):
        rows = slice(start, start + step)
        named = sources(user_B[rows])
        order_BF = next(iter(named.values()))
        if exclude is not None:
            order_BF = _without(order_BF, exclude[rows], column_I)
        column_BK, _ = top_k(order_BF, k)
        parts.append((column_BK, {name: _pick(score, column_BK) for name, score in named.items()}))
    column_BK = np.concatenate([column for column, _ in parts])
    item_BK = np.where(column_BK < 0, NO_ITEM, item_F[column_BK])
    scores = {name: np.concatenate([part[name] for _, part in parts]) for name in parts[0][1]}
    return Candidates(user_B, item_BK, scores)


def _without(score_BF: np.ndarray, exclude: csr_array, column_I: np.ndarray) -> np.ndarray:
    cells = exclude.tocoo()
    row, column = cells.row, column_I[cells.col]
    drop = cells.data.astype(bool) & (column >= 0)
    score_BF = score_BF.copy()
    score_BF[row[drop], column[drop]] = -np.inf
    return score_BF


def _pick(score_BF: np.ndarray, column_BK: np.ndarray) -> np.ndarray:
    score_BK = np.take_along_axis(score_BF, np.maximum(column_BK, 0), axis=1).astype(np.float32)
    score_BK[(column_BK < 0) | ~np.isfinite(score_BK)] = np.nan
    return score_BK
