"""Answers of several slots: what a policy can still show in a slot, given the slots above.

A log whose answers never show an item twice was made by policies that cannot; one that is judged on it may
not either, or it would be paid for its best item in every slot.

Shape: B rounds, A actions, S answers, K slots of the longest answer.
"""

from __future__ import annotations

import numpy as np

from muma.evaluation.off_policy.logged import Logged
from muma.evaluation.off_policy.slates import slates_of


def shown_above(logged: Logged) -> np.ndarray:
    """Items that the slots above hold, boolean [B, A]; none where an answer may show an item twice.

    Raises:
        DataError: an answer has two rounds in one position.

    Example:
        >>> one = np.ones(3)
        >>> log = Logged(np.array([1, 0, 1]), one, one, 2, position_B=np.array([0, 1, 0]),
        ...              slate_B=np.array([5, 5, 9]))
        >>> shown_above(log).tolist()
        [[False, False], [False, True], [False, False]]
    """
    above_BA = np.zeros((len(logged), logged.n_actions), dtype=bool)
    if logged.slate_B is None or logged.position_B is None:
        return above_BA
    slates = slates_of(logged)
    item_SK = np.full(slates.shape, -1, dtype=np.int64)
    item_SK[slates.slate_B, slates.rank_B] = logged.action_B
    for slot in range(1, slates.shape[1]):
        row_b = np.flatnonzero(slates.rank_B == slot)
        before_bk = item_SK[slates.slate_B[row_b], :slot]
        if (before_bk == logged.action_B[row_b, None]).any():
            return np.zeros_like(above_BA)
        above_BA[row_b[:, None], before_bk] = True
    return above_BA


def left_over(target_BA: np.ndarray, above_BA: np.ndarray) -> np.ndarray:
    """Probabilities without the items above, shared out again; evenly where none is left; [B, A].

    Example:
        >>> above_BA = np.array([[False, False, True]])
        >>> left_over(np.array([[0.125, 0.375, 0.5]]), above_BA).tolist()
        [[0.25, 0.75, 0.0]]
    """
    left_BA = np.where(above_BA, 0.0, target_BA)
    total_B1 = left_BA.sum(axis=1, keepdims=True)
    even_BA = ~above_BA / (~above_BA).sum(axis=1, keepdims=True)
    return np.where(total_B1 > 0, left_BA / np.where(total_B1 > 0, total_B1, 1.0), even_BA)


def first_choice(value_BA: np.ndarray, above_BA: np.ndarray) -> np.ndarray:
    """The item of the largest value that is left: one-hot float64 [B, A]. Values are finite.

    Example:
        >>> first_choice(np.array([[0.1, 0.3, 0.6]]), np.array([[False, False, True]])).tolist()
        [[0.0, 1.0, 0.0]]
    """
    choice_BA = np.zeros(above_BA.shape)
    best_B = np.where(above_BA, -np.inf, value_BA).argmax(axis=1)
    choice_BA[np.arange(len(choice_BA)), best_B] = 1.0
    return choice_BA
