"""What linear reward models see of a round: context, action, slot and, if asked, their products.

    eta = x_b c + z_a d + e_a + s_k + x_b C_a

with context x (standardised on the rounds it is fitted on), action features z, a value e_a of each
action's own, s_k of each slot, and C_a, what an action adds to the weights of the context.

Shape: B rounds, A actions, K slots, F context features, G action features, P parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from muma.errors import DataError
from muma.evaluation.off_policy.logged import Logged


@dataclass(frozen=True)
class Design:
    """The layout of the parameters, and the context's scale.

    Attributes:
        n_actions: A.
        n_slots: K; 0 where positions are not told.
        mean_F: means of the context.
        scale_F: standard deviations of the context, 1 where constant.
        action_AG: standardised action features; width 0 without any.
        interaction: whether products of context and action are there.
        identity: whether actions have values of their own.
    """

    n_actions: int
    n_slots: int
    mean_F: np.ndarray
    scale_F: np.ndarray
    action_AG: np.ndarray
    interaction: bool
    identity: bool

    def context(self, logged: Logged) -> np.ndarray:
        """Standardised context, float64 [B, F]; width 0 without any."""
        context_BF = _context(logged)
        if context_BF.shape[1] != len(self.mean_F):
            raise DataError(
                f"the context has {context_BF.shape[1]} features; the reward model was fitted on "
                f"{len(self.mean_F)}"
            )
        return (context_BF - self.mean_F) / self.scale_F

    def matrix(self, logged: Logged) -> sparse.csr_array:
        """The rounds' own rows, [B, P]."""
        n, context_BF = len(logged), self.context(logged)
        row_B, one_B = np.arange(n), np.ones(n)
        action_BA = sparse.csr_array((one_B, (row_B, logged.action_B)), shape=(n, self.n_actions))
        parts = [
            sparse.csr_array(context_BF),
            sparse.csr_array(self.action_AG[logged.action_B]),
        ]
        if self.identity:
            parts.append(action_BA)
        if self.n_slots:
            slot_B = self._slots(logged)
            known_B = slot_B < self.n_slots
            parts.append(
                sparse.csr_array(
                    (one_B[known_B], (row_B[known_B], slot_B[known_B])), shape=(n, self.n_slots)
                )
            )
        if self.interaction:
            width = context_BF.shape[1]
            column_BF = logged.action_B[:, None] * width + np.arange(width)
            entries = (context_BF.ravel(), (np.repeat(row_B, width), column_BF.ravel()))
            parts.append(sparse.csr_array(entries, shape=(n, self.n_actions * width)))
        return sparse.csr_array(sparse.hstack(parts, format="csr"))

    def scores(self, logged: Logged, parameter_P: np.ndarray) -> np.ndarray:
        """The linear score of every action in every round, float64 [B, A]."""
        context_BF = self.context(logged)
        width, features = context_BF.shape[1], self.action_AG.shape[1]
        sizes = [width, features, self.n_actions if self.identity else 0, self.n_slots]
        c_F, d_G, e_A, s_K, rest = np.split(parameter_P, np.cumsum(sizes))
        score_BA = (context_BF @ c_F)[:, None] + (self.action_AG @ d_G)[None, :]
        if self.identity:
            score_BA += e_A
        if self.n_slots:
            score_BA += np.append(s_K, 0.0)[np.minimum(self._slots(logged), self.n_slots)][:, None]
        if self.interaction:
            score_BA += context_BF @ rest.reshape(self.n_actions, width).T
        return score_BA

    def _slots(self, logged: Logged) -> np.ndarray:
        if logged.position_B is None:
            raise DataError("the reward model was fitted with positions; this log has none")
        return logged.position_B


def design_of(
    logged: Logged, *, action_AG: np.ndarray | None, interaction: bool, identity: bool
) -> Design:
    """Lay out the parameters for a log.

    Raises:
        DataError: the action features have not one finite row an action.
    """
    if action_AG is None:
        action_AG = np.empty((logged.n_actions, 0))
    elif np.ndim(action_AG) != 2 or len(action_AG) != logged.n_actions:
        raise DataError(
            f"action features have shape {np.shape(action_AG)}; allowed is [{logged.n_actions}, G]"
        )
    elif not np.isfinite(action_AG).all():
        raise DataError("action features hold NaN or infinity; fill them first")
    context_BF = _context(logged)
    slots = 0 if logged.position_B is None else int(logged.position_B.max()) + 1
    return Design(
        logged.n_actions,
        slots if slots > 1 else 0,
        context_BF.mean(axis=0),
        _scale(context_BF),
        (action_AG - action_AG.mean(axis=0)) / _scale(action_AG),
        interaction and context_BF.shape[1] > 0,
        identity,
    )


def _scale(value: np.ndarray) -> np.ndarray:
    spread = value.std(axis=0)
    return np.where(spread > 1e-12, spread, 1.0)


def _context(logged: Logged) -> np.ndarray:
    if logged.context_BF is None:
        return np.empty((len(logged), 0))
    return np.asarray(logged.context_BF, dtype=np.float64)
