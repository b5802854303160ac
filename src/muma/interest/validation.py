"""NDCG@10 on events that are kept from training: what early stopping looks at.

Full ranking over every item with a row, nothing masked: it only has to rank epochs.

Shape: V held-out events, S rows of the table in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from muma.interest.batch import FIRST_ROW, UNKNOWN_ROW
from muma.interest.histories import Histories
from muma.rng import derive

if TYPE_CHECKING:
    from muma.interest.model import InterestModel

K = 10
BLOCK = 512


def validation_events(events: Histories, users: int, seed: int) -> np.ndarray:
    """The newest event of some users with three or more, drawn by seed; int64 [V], ascending."""
    able_U = np.flatnonzero(np.diff(events.indptr) >= 3)
    if len(able_U) > users:
        able_U = derive(seed, "validation users").choice(able_U, users, replace=False)
    return np.sort(events.indptr[able_U + 1] - 1) if users else np.empty(0, dtype=np.int64)


def ndcg(model: InterestModel, events: Histories, held_V: np.ndarray) -> float:
    """Mean NDCG@10 of the held-out events: 1 / log2(1 + rank) when the rank is at most 10.

    Args:
        model: as it is now.
        events: all histories.
        held_V: the events to predict, each from what its user did before.
    """
    user_V, first_V = events.user_E[held_V], events.indptr[events.user_E[held_V]]
    length = model.config.network.max_length
    weight_SD = model.network.table.live().detach().numpy()
    row_V = model.row_I[events.item_E[held_V]]
    gain = 0.0
    for start in range(0, len(held_V), BLOCK):
        rows = slice(start, start + BLOCK)
        sequences = events.cut(
            np.maximum(first_V[rows], held_V[rows] - length), held_V[rows], length
        )
        found = model.users(sequences, user_B=user_V[rows], at_B=events.time_E[held_V[rows]])
        score = found.user_BD @ weight_SD.T
        score_BS = score if score.ndim == 2 else score.max(axis=1)
        score_BS[:, :FIRST_ROW] = -np.inf
        own_B1 = np.take_along_axis(score_BS, row_V[rows, None], axis=1)
        rank_B = 1 + (score_BS > own_B1).sum(axis=1)
        hit_B = (rank_B <= K) & (row_V[rows] > UNKNOWN_ROW)
        gain += float((hit_B / np.log2(1 + rank_B)).sum())
    return gain / len(held_V)
