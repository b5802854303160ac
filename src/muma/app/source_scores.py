"""Scores of candidate sources as features: each row by models that knew nothing of its time.

A source's scale changes with every fit, so a score is told in standard deviations from the mean of the
user's whole catalogue:

    z_ui = (s_ui - mean_i s_ui) / sd_i s_ui
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from muma.candidates.candidate import CandidateModel
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
        rows = order_N[start_B[first] : start_B[first + len(block)]]
        for column, source in enumerate(sources.values()):
            score_BI = source.score(block)
            score_NS[rows, column] = standardised(score_BI)[place_N[rows] - first, item_N[rows]]
    return score_NS


def standardised(score_BI: np.ndarray) -> np.ndarray:
    """Scores of whole catalogues in standard deviations from each row's mean; -inf becomes NaN.

    A row without any difference is 0 everywhere.
    """
    finite_BI = np.isfinite(score_BI)
    known_BI = np.where(finite_BI, score_BI, 0.0).astype(np.float64)
    count_B = np.maximum(finite_BI.sum(axis=1), 1)
    mean_B = known_BI.sum(axis=1) / count_B
    apart_BI = np.where(finite_BI, known_BI - mean_B[:, None], 0.0)
    sd_B = np.sqrt((apart_BI**2).sum(axis=1) / count_B)
    scaled_BI = apart_BI / np.where(sd_B > 0, sd_B, 1.0)[:, None]
    return np.where(finite_BI, scaled_BI, np.nan).astype(np.float32)
