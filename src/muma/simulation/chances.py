"""What policies of arms do with their evidence, for S games at once: the rows of `play_side_by_side`.

Each function stands for the class whose name it bears and calls the class's own formulas where they take
arrays; tests hold them to the class, draw by draw.

Shape: S games, A arms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from muma.policy.arms import Evidence
from muma.policy.cycle import Cycle, CycleConfig
from muma.policy.epsilon_greedy import EpsilonGreedy
from muma.policy.floor import Floor
from muma.policy.stochastic_ucb import StochasticUCB, StochasticUCBConfig
from muma.policy.thompson import Thompson
from muma.policy.ucb import UCB, UCBConfig, ucb_index

Chance = Callable[[Any, Evidence, np.ndarray, np.random.Generator], np.ndarray]
"""(policy, evidence of all games [S A], arms left [S, A], generator) -> own chances, float64 [S, A]."""


def ucb(policy: UCB, evidence: Evidence, left_SA: np.ndarray, _: object) -> np.ndarray:
    """The best index."""
    config: UCBConfig = policy.config
    return best(ucb_index(evidence, config.bonus).reshape(left_SA.shape), left_SA)


def cycle(policy: Cycle, evidence: Evidence, left_SA: np.ndarray, _: object) -> np.ndarray:
    """The best index, or any."""
    config: CycleConfig = policy.config
    own_SA = best(ucb_index(evidence).reshape(left_SA.shape), left_SA)
    return mixed(own_SA, left_SA, config.mix)


def stochastic_ucb(
    policy: StochasticUCB, evidence: Evidence, left_SA: np.ndarray, _: object
) -> np.ndarray:
    """Softmax over the index, or the best, or any."""
    config: StochasticUCBConfig = policy.config
    index_SA = ucb_index(evidence, config.bonus).reshape(left_SA.shape)
    if config.draw == "epsilon":
        return mixed(best(index_SA, left_SA), left_SA, config.epsilon)
    index_SA = np.where(left_SA, index_SA, -np.inf)
    top_S1 = index_SA.max(axis=1, keepdims=True)
    unseen_S1 = np.isinf(top_S1)
    gap_SA = np.where(unseen_S1, 0.0, index_SA) - np.where(unseen_S1, 0.0, top_S1)
    own_SA = np.where(unseen_S1, index_SA == top_S1, np.exp(gap_SA / config.temperature))
    own_SA = np.where(left_SA, own_SA, 0.0)
    return own_SA / own_SA.sum(axis=1, keepdims=True)


def epsilon_greedy(
    policy: EpsilonGreedy, evidence: Evidence, left_SA: np.ndarray, _: object
) -> np.ndarray:
    """The highest mean, or any."""
    own_SA = best(evidence.mean_N.reshape(left_SA.shape), left_SA)
    return mixed(own_SA, left_SA, policy.epsilon(evidence.total))


def thompson(
    policy: Thompson, evidence: Evidence, left_SA: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """All chance to the arm of the largest draw from the posteriors: drawn, not worked out."""
    draw_1N = policy.draws(*policy.posterior(evidence), rng)
    return best(draw_1N.reshape(left_SA.shape), left_SA)


CHANCES: Mapping[type, Chance] = {
    UCB: ucb,
    Cycle: cycle,
    StochasticUCB: stochastic_ucb,
    EpsilonGreedy: epsilon_greedy,
    Thompson: thompson,
}
"""Class -> what it does in S games at once."""


def best(index_SA: np.ndarray, left_SA: np.ndarray) -> np.ndarray:
    """1 for the arm of the highest index among those left, the lowest arm of equals; float64 [S, A]."""
    own_SA = np.zeros(index_SA.shape)
    top_S = np.where(left_SA, index_SA, -np.inf).argmax(axis=1)
    own_SA[np.arange(len(own_SA)), top_S] = 1.0
    return own_SA


def mixed(own_SA: np.ndarray, left_SA: np.ndarray, epsilon: float) -> np.ndarray:
    """Chances of which the share `epsilon` is spread evenly over the arms left; float64 [S, A]."""
    even_SA = epsilon / left_SA.sum(axis=1, keepdims=True)
    return np.where(left_SA, (1 - epsilon) * own_SA + even_SA, 0.0)


def over_floor(own_SA: np.ndarray, left_SA: np.ndarray, floor: Floor) -> np.ndarray:
    """Chances with the floor under them; the floor must hold all arms. float64 [S, A]."""
    n_S1 = left_SA.sum(axis=1, keepdims=True)
    p_SA = np.where(left_SA, floor.least + (1.0 - n_S1 * floor.least) * own_SA, 0.0)
    return np.where(n_S1 == 1, left_SA, p_SA)


def picked(p_SA: np.ndarray, u_S: np.ndarray) -> np.ndarray:
    """The arm that each `u`, uniform in [0, 1), falls on; int64 [S].

    Example:
        >>> picked(np.array([[0.25, 0, 0.75]] * 3), np.array([0.2, 0.25, 0.9999])).tolist()
        [0, 2, 2]
    """
    total_SA = np.cumsum(p_SA, axis=1)
    arm_S = (total_SA <= (u_S * total_SA[:, -1])[:, None]).sum(axis=1)
    last_S = p_SA.shape[1] - 1 - (p_SA[:, ::-1] > 0).argmax(axis=1)
    return np.minimum(arm_S, last_S)
