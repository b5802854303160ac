"""The contract of off-policy evaluation: what was logged, and who asks.

The logging policy drew `action_B` with `propensity_B`; the target policy would draw action a with
`target_BA[:, a]`. Everything else is estimated from the two.

An action is a number that means the same thing in every round (an item), or, where each request has
candidates of its own, a place in that request's list: then A is the longest list, and the target gives
0 to places beyond the end of a shorter one.

Shape: B rounds (a round is one slot of one answer), A actions, F features of the context.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from muma.errors import ConfigError, DataError

SUM_TOLERANCE = 1e-4  # rounding of float32 probabilities over thousands of actions


@dataclass(frozen=True)
class Logged:
    """One past under one logging policy; plain arrays, checked by `check`.

    Attributes:
        action_B: int64 [B], which action was shown, in [0, `n_actions`).
        reward_B: float64 [B], what came back, finite.
        propensity_B: float64 [B], probability of the logged action under the policy that acted, in
            (0, 1]. Given the slots before, or marginal in its slot: the target must mean the same.
        n_actions: A, actions there are.
        position_B: int64 [B], slot of the answer from 0; None where every round is one slot.
        unit_B: int64 [B], what is resampled as a whole: the answer or the user; None: each round
            (each answer, where `slate_B` is given).
        context_BF: float32 [B, F], what a reward model may see; None for none.
        slate_B: int64 [B], the answer that a round is a slot of; None where no estimator asks.
    """

    action_B: np.ndarray
    reward_B: np.ndarray
    propensity_B: np.ndarray
    n_actions: int
    position_B: np.ndarray | None = None
    unit_B: np.ndarray | None = None
    context_BF: np.ndarray | None = None
    slate_B: np.ndarray | None = None

    def __len__(self) -> int:
        """Number of rounds."""
        return len(self.action_B)

    @property
    def units_B(self) -> np.ndarray | None:
        """What is resampled as a whole: `unit_B`, else `slate_B`, else None."""
        return self.slate_B if self.unit_B is None else self.unit_B

    def rows(self, index_b: np.ndarray) -> Logged:
        """The rounds that an index or a mask names.

        Example:
            >>> Logged(np.arange(3), np.zeros(3), np.ones(3), 3).rows(np.array([2])).action_B
            array([2])
        """
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(
            self, **{n: v[index_b] for n, v in values.items() if isinstance(v, np.ndarray)}
        )


def check(logged: Logged) -> None:
    """Refuse a past that no estimator can use.

    Raises:
        DataError: it is empty, arrays differ in length, an action is unknown, a reward is not finite,
            or a propensity is missing, 0 or above 1.
    """
    n = len(logged)
    if n == 0:
        raise DataError("the log holds no rounds; nothing can be estimated from it")
    if logged.n_actions < 1:
        raise ConfigError(f"n_actions is {logged.n_actions}; allowed is at least 1")
    for name in ("action_B", "reward_B", "propensity_B", "position_B", "unit_B", "slate_B"):
        value_B = getattr(logged, name)
        if value_B is not None and np.shape(value_B) != (n,):
            raise DataError(f"{name} has shape {np.shape(value_B)}; the log has {n} rounds")
        if value_B is not None and name not in {"reward_B", "propensity_B"}:
            _integers(name, value_B)
    _refuse("action", logged.action_B, (logged.action_B < 0) | (logged.action_B >= logged.n_actions),
            f"an action in [0, {logged.n_actions}); give unseen actions a number of their own")  # fmt: skip
    _refuse("reward", logged.reward_B, ~np.isfinite(logged.reward_B),
            "a finite number; leave out rounds whose reward is not known yet")  # fmt: skip
    # NaN fails both comparisons
    possible_B = (logged.propensity_B > 0) & (logged.propensity_B <= 1)
    _refuse("propensity", logged.propensity_B, ~possible_B,
            "in (0, 1]: what was shown had a chance; if none was logged, estimate it first")  # fmt: skip
    if logged.position_B is not None:
        _refuse("position", logged.position_B, logged.position_B < 0, "a slot from 0")
    if logged.context_BF is not None:
        if np.ndim(logged.context_BF) != 2 or len(logged.context_BF) != n:
            raise DataError(
                f"context_BF has shape {np.shape(logged.context_BF)}; allowed is [{n}, F]"
            )
        if not np.isfinite(logged.context_BF).all():
            raise DataError("context_BF holds NaN or infinity; fill or mask them first")


def check_target(target_BA: np.ndarray, logged: Logged) -> None:
    """Refuse target probabilities that are none.

    Raises:
        DataError: the shape is not [B, A], an entry is negative or not finite, or a row does not sum
            to 1 (tolerance 1e-4).
    """
    _check_shape("target_BA", target_BA, logged)
    # a NaN or an infinity makes its row's sum NaN or infinite, so it fails here as well
    sum_B = target_BA @ np.ones(logged.n_actions, dtype=target_BA.dtype)
    _refuse("sum of a row of target_BA", sum_B, ~(np.abs(sum_B - 1) <= SUM_TOLERANCE),
            "1: every row is a distribution over the actions")  # fmt: skip
    if target_BA.min() < 0:
        least_B = target_BA.min(axis=1)
        _refuse("target probability", least_B, least_B < 0, "in [0, 1]")


def check_prediction(prediction_BA: np.ndarray, logged: Logged) -> None:
    """Refuse predicted rewards of another shape, or that are not finite.

    Raises:
        DataError: the shape is not [B, A], or a value is NaN or infinite.
    """
    _check_shape("prediction_BA", prediction_BA, logged)
    # NaN and infinity survive a product with ones
    sum_B = prediction_BA @ np.ones(logged.n_actions, dtype=prediction_BA.dtype)
    _refuse("predicted rewards, summed,", sum_B, ~np.isfinite(sum_B), "finite")


def _check_shape(name: str, value_BA: np.ndarray, logged: Logged) -> None:
    allowed = (len(logged), logged.n_actions)
    if np.shape(value_BA) != allowed:
        raise DataError(f"{name} has shape {np.shape(value_BA)}; allowed is {allowed}: [B, A]")
    if not np.issubdtype(value_BA.dtype, np.floating):
        raise DataError(f"{name} holds {value_BA.dtype}; allowed are float32 and float64")


def _integers(name: str, value_B: np.ndarray) -> None:
    if not np.issubdtype(np.asarray(value_B).dtype, np.integer):
        raise DataError(f"{name} holds {np.asarray(value_B).dtype}; allowed are integers")


def _refuse(name: str, value_B: np.ndarray, wrong_B: np.ndarray, allowed: str) -> None:
    if wrong_B.any():
        first = int(np.argmax(wrong_B))
        raise DataError(
            f"{name} is {value_B[first]} in round {first} ({int(wrong_B.sum())} such rounds); "
            f"allowed is {allowed}"
        )
