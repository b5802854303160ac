"""Scores of candidate sources as features: each row by models that knew nothing of its time.

A score is told in standard deviations from the mean of the user's whole catalogue; see
`muma.candidates.scale`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from muma.candidates.candidate import CandidateModel
from muma.candidates.scale import scale_of, standardised
from muma.progress import track

BLOCK = 512
PREFIX = "candidate."


def pair_scores(
    sources: Mapping[str, CandidateModel], user_N: np.ndarray, item_N: np.ndarray
) -> np.ndarray:
    """Standardised score of every source for pairs; float32 [N, S], NaN where it has none.

    Args:
        sources: fitted models by name.
        user_N: dense indices, any order.
        item_N: dense indices.
    """
    score_NS = np.full((len(user_N), len(sources)), np.nan, dtype=np.float32)
    users, place_N = np.unique(user_N, return_inverse=True)
    order_N = np.argsort(place_N, kind="stable")
    start_B = np.searchsorted(place_N[order_N], np.arange(len(users) + 1))
    for first in track(range(0, len(users), BLOCK), label="scores of sources"):
        block = users[first : first + BLOCK]
        for column, source in enumerate(sources.values()):
            score_BI = source.score(block)
            for place, score_I in enumerate(score_BI):
                mine = order_N[start_B[first + place] : start_B[first + place + 1]]
                score_n = score_I[item_N[mine]]
                score_NS[mine, column] = standardised(score_n, scale_of(score_I))
    return score_NS
