"""Rounds laid out by answer: which slots belong together, and in what order.

Shape: B rounds, S answers, K slots of the longest answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muma.errors import DataError
from muma.evaluation.off_policy.logged import Logged


@dataclass(frozen=True)
class Slates:
    """The layout.

    Attributes:
        slate_B: number of the round's answer, from 0.
        rank_B: place of the round among the slots of its answer, from 0, in order of position.
        shape: (S, K).
    """

    slate_B: np.ndarray
    rank_B: np.ndarray
    shape: tuple[int, int]

    @property
    def first_B(self) -> np.ndarray:
        """1 for the first slot of each answer, else 0; float64 [B]."""
        return (self.rank_B == 0).astype(np.float64)

    def products(self, weight_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Product of the weights of the slots before, and of those up to and with this one; [B] each."""
        wide_SK = np.ones(self.shape)
        wide_SK[self.slate_B, self.rank_B] = weight_B
        through_SK = np.cumprod(wide_SK, axis=1)
        before_SK = np.concatenate([np.ones((self.shape[0], 1)), through_SK[:, :-1]], axis=1)
        place = self.slate_B, self.rank_B
        return before_SK[place], through_SK[place]


def slates_of(logged: Logged) -> Slates:
    """Lay the rounds out.

    Raises:
        DataError: answers or positions are missing, an answer has two rounds in one position, or its
            rounds belong to several units.

    Example:
        >>> one = np.ones(3)
        >>> slates_of(Logged(np.zeros(3, int), one, one, 1, position_B=np.array([1, 0, 0]),
        ...                  slate_B=np.array([5, 5, 9]))).rank_B.tolist()
        [1, 0, 0]
    """
    if logged.slate_B is None or logged.position_B is None:
        raise DataError("estimators of whole answers need slate_B and position_B in the log")
    order_B = np.lexsort((logged.position_B, logged.slate_B))
    slate_B, position_B = logged.slate_B[order_B], logged.position_B[order_B]
    same_B = np.concatenate([[False], slate_B[1:] == slate_B[:-1]])
    twice_B = same_B & np.concatenate([[False], position_B[1:] == position_B[:-1]])
    if twice_B.any():
        first = int(np.argmax(twice_B))
        raise DataError(
            f"answer {slate_B[first]} has two rounds in position {position_B[first]}; "
            "a slot is filled once"
        )
    if logged.unit_B is not None:
        unit_B = logged.unit_B[order_B]
        split_B = same_B & np.concatenate([[False], unit_B[1:] != unit_B[:-1]])
        if split_B.any():
            raise DataError(
                f"answer {slate_B[np.argmax(split_B)]} belongs to several units; "
                "a unit holds whole answers"
            )
    number_B = np.cumsum(~same_B) - 1
    start_S = np.flatnonzero(~same_B)
    rank_B = np.arange(len(order_B)) - start_S[number_B]
    back_B = np.empty(len(order_B), dtype=np.int64)
    back_B[order_B] = np.arange(len(order_B))
    return Slates(number_B[back_B], rank_B[back_B], (len(start_S), int(rank_B.max()) + 1))
