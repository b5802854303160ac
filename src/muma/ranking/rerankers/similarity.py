"""How alike items are, and how relevant: unit vectors and scores on a scale of 0 to 1.

Shape: N candidates, D width of item vectors or number of tags.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from muma.ranking.reranker import ItemFeatures

Similarity = Literal["cosine", "tags"]


def unit_vectors(features: ItemFeatures, similarity: Similarity, who: str) -> np.ndarray:
    """Vectors whose dot products are similarities: float64 [N, D], C-contiguous.

    Of tags it is the Ochiai overlap |A & B| / sqrt(|A| |B|). An item that is unknown, or zero, gets
    the zero vector: it is like no other.

    Raises:
        DataError: the features lack what `similarity` needs.
    """
    raw = features.need("vector_ND" if similarity == "cosine" else "tag_NT", who)
    vector_ND = np.array(raw, dtype=np.float64, order="C")
    vector_ND[~np.isfinite(vector_ND).all(axis=1)] = 0.0
    # scaled first, so that squares of huge or tiny values neither overflow nor vanish
    top_N = np.abs(vector_ND).max(axis=1, initial=0.0)
    vector_ND /= np.where(top_N > 0, top_N, 1.0)[:, None]
    norm_N = np.sqrt(np.einsum("nd,nd->n", vector_ND, vector_ND))
    vector_ND /= np.where(norm_N > 0, norm_N, 1.0)[:, None]
    return vector_ND


def relevance(score_N: np.ndarray) -> np.ndarray:
    """Scores moved and stretched to 0 ... 1 within the slate: float64 [N].

    Equal scores all give 1. A score that is NaN counts as the worst, infinite ones as the ends.

    Example:
        >>> relevance(np.array([3.0, 2.0, 1.0])).tolist()
        [1.0, 0.5, 0.0]
    """
    score_N = np.asarray(score_N, dtype=np.float64)
    finite_N = np.isfinite(score_N)
    if not finite_N.any():
        return np.where(score_N == np.inf, 1.0, 0.0)
    low, high = score_N[finite_N].min(), score_N[finite_N].max()
    clipped_N = np.clip(np.where(np.isnan(score_N), low, score_N), low, high)
    if low == high:
        return np.ones(len(score_N))
    span = high / 2 - low / 2  # halves, so that the widest span does not overflow
    return (clipped_N / 2 - low / 2) / span
