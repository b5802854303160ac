"""Slates for answers: by the sources alone, or again from the features that were kept.

Shape: N candidates, S sources, F features.
"""

from __future__ import annotations

import numpy as np

from muma.ranking.ranker import Slate
from muma.serving.bundle import LISTS, Bundle

SOURCE = "candidate."


def kept_slate(
    bundle: Bundle, item_N: np.ndarray, value_NF: np.ndarray, columns: tuple[str, ...]
) -> Slate:
    """The slate again, from the features that were kept: by the ranker, if it reads those columns."""
    ranker = bundle.rankers[LISTS]
    if columns == ranker.columns:
        return ranker.rank(np.ascontiguousarray(value_NF), item_N)
    names = tuple(name.removeprefix(SOURCE) for name in columns)
    return by_sources(item_N, value_NF, names)


def by_sources(item_N: np.ndarray, score_NS: np.ndarray, names: tuple[str, ...] = ()) -> Slate:
    """Candidates by the mean of what their sources say; a source that is silent says 0.

    Example:
        >>> by_sources(np.array([4, 7]), np.array([[0.5, np.nan], [1.0, 1.0]])).item_N.tolist()
        [7, 4]
    """
    value_NS = np.ascontiguousarray(score_NS, dtype=np.float32)
    said_NS = np.nan_to_num(value_NS.astype(np.float64), nan=0.0)
    score_N = said_NS.sum(axis=1) / max(said_NS.shape[1], 1)
    order_N = np.argsort(-score_N, kind="stable")
    names = names or tuple(str(place) for place in range(value_NS.shape[1]))
    columns = tuple(f"{SOURCE}{name}" for name in names)
    return Slate.plain(item_N, score_N, value_NS, columns).take(order_N)


def boosted(slate: Slate, boost_N: np.ndarray) -> tuple[Slate, np.ndarray]:
    """The slate in the order of its boosted scores, and the boosts in that order."""
    if not boost_N.any():
        return slate, boost_N
    score_N = slate.score_N + boost_N
    order_N = np.argsort(-score_N, kind="stable")
    return Slate(
        slate.item_N, score_N, slate.value_NF, slate.columns, slate.probability, slate.attribute
    ).take(order_N), boost_N[order_N]
