"""What is refused before a policy chooses or learns.

Shape: N candidates, E feedback rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from muma.errors import ConfigError, DataError
from muma.policy.policy import Feedback
from muma.ranking.ranker import Slate

MOST_ITEMS = 1 << 27  # dense indices lie below; three float64 of each take 3 GiB


def check_slate(slate: Slate) -> None:
    """Refuse a slate that no slot can be drawn from.

    Raises:
        DataError: it is empty, an item stands in it twice or has a negative index, a score is not
            finite.

    Example:
        >>> check_slate(Slate.plain(np.arange(2), np.array([0.5, np.nan])))
        Traceback (most recent call last):
        muma.errors.DataError: the score of item 1 (place 1 of the slate) is nan; ...
    """
    if len(slate) == 0:
        raise DataError("the slate is empty; hand in at least one candidate")
    score_N = np.asarray(slate.score_N)
    if score_N.shape != slate.item_N.shape:
        raise DataError(
            f"{len(slate)} candidates and scores of shape {score_N.shape}; give one each"
        )
    if not (finite_N := np.isfinite(score_N)).all():
        place = int(np.argmin(finite_N))
        raise DataError(
            f"the score of item {slate.item_N[place]} (place {place} of the slate) is "
            f"{score_N[place]}; scores must be finite: drop the candidate or mend the ranker"
        )
    sorted_N = np.sort(slate.item_N)
    if sorted_N[0] < 0:
        raise DataError(f"item {sorted_N[0]} is no dense index; they begin at 0")
    if len(twice_n := sorted_N[1:][sorted_N[1:] == sorted_N[:-1]]):
        raise DataError(f"item {twice_n[0]} stands twice in the slate; hand in each candidate once")


def check_slots(k: int) -> None:
    """Refuse a number of slots below 1.

    Raises:
        ConfigError: `k` is below 1.
    """
    if k < 1:
        raise ConfigError(f"k is {k}; at least one slot must be asked for")


def check_taken(taken: Sequence[int], n: int) -> np.ndarray:
    """Places of the slots before as int64, in slot order.

    Raises:
        DataError: one of them is no place of `n` candidates, stands twice, or all are taken.

    Example:
        >>> check_taken([2, 0], 3).tolist()
        [2, 0]
    """
    taken_n = np.asarray(taken)
    if taken_n.size == 0:
        return np.zeros(0, dtype=np.int64)
    if taken_n.ndim != 1 or taken_n.dtype.kind not in "iu":
        raise DataError(
            f"taken has type {taken_n.dtype} and shape {taken_n.shape}; give places as integers, in "
            "slot order"
        )
    if taken_n.min() < 0 or taken_n.max() >= n or len(np.unique(taken_n)) < len(taken_n):
        raise DataError(f"taken = {taken_n.tolist()} of {n} candidates; each must be a place, once")
    if len(taken_n) == n:
        raise DataError(f"all {n} candidates are taken; no slot can be filled")
    return taken_n.astype(np.int64)


def check_feedback(feedback: Feedback) -> None:
    """Refuse feedback that would spoil what was learned.

    Raises:
        DataError: rows differ in number, an item is no dense index, a reward lies outside [0, 1] or is
            NaN, a propensity lies outside (0, 1] or is NaN, a time is negative.

    Example:
        >>> one = np.ones(1)
        >>> check_feedback(Feedback(np.array([3]), one, np.array([0]), propensity_E=0 * one))
        Traceback (most recent call last):
        muma.errors.DataError: propensity of row 0 (item 3) is 0.0; it must lie in (0, 1]: ...
    """
    n = len(feedback.item_E)
    named = {
        "item": feedback.item_E,
        "reward": feedback.reward_E,
        "time": feedback.time_E,
        "propensity": feedback.propensity_E,
        "explored": feedback.explored_E,
    }
    for name, value_E in named.items():
        if value_E is not None and np.shape(value_E) != (n,):
            raise DataError(
                f"{name} has shape {np.shape(value_E)}; feedback of {n} rows needs ({n},)"
            )
    if n == 0:
        return
    for name in ("item", "time"):
        if np.asarray(named[name]).dtype.kind not in "iu":
            raise DataError(f"{name} has type {np.asarray(named[name]).dtype}; give integers")
    item_E, reward_E, propensity_E = feedback.item_E, feedback.reward_E, feedback.propensity_E
    rules = (
        (
            "item",
            item_E,
            (item_E >= 0) & (item_E < MOST_ITEMS),
            "be a dense index from 0: look it up",
        ),
        ("reward", reward_E, (reward_E >= 0) & (reward_E <= 1), "lie in [0, 1]: rescale it"),
        (
            "propensity",
            propensity_E,
            (propensity_E > 0) & (propensity_E <= 1),
            "lie in (0, 1]: take it from the decision",
        ),
        (
            "time",
            feedback.time_E,
            np.asarray(feedback.time_E) >= 0,
            "be microseconds since 1970 UTC",
        ),
    )
    for name, value_E, fine_E, rule in rules:
        if not np.all(fine_E):
            row = int(np.argmin(fine_E))
            raise DataError(
                f"{name} of row {row} (item {item_E[row]}) is {value_E[row]}; it must {rule}. Nothing "
                "of the batch was learned"
            )
