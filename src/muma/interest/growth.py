"""First vectors of items that come after training, so that they enter without a retrain.

With source vectors, a ridge regression on the known items carries content into the learned space:

    B = argmin_B  sum_i |e_i - (1, s_i) B|^2 + l2 |B|^2,     e_new = (1, s_new) B

Without, a new item starts at the mean of the known ones plus a little noise, so that equal items can
grow apart.

Shape: F known items, N new ones, D width of the table, C width of the source vectors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from muma.rng import derive

NOISE = 0.1  # of the known items' deviation


def first_vectors(
    item_FD: np.ndarray,
    new: int,
    *,
    seed: int,
    source_FC: np.ndarray | None = None,
    source_NC: np.ndarray | None = None,
    l2: float = 1.0,
) -> NDArray[np.float32]:
    """Vectors for `new` items, float32 [N, D].

    Args:
        item_FD: learned rows of the known items.
        new: N.
        seed: of the noise.
        source_FC: source vectors of the known items; None without sources.
        source_NC: source vectors of the new items.
        l2: penalty of the regression.

    Example:
        >>> known = np.array([[0.0], [2.0], [4.0]])
        >>> first_vectors(known, 1, seed=1, source_FC=known, source_NC=np.array([[3.0]]), l2=1e-6).round(2)
        array([[3.]], dtype=float32)
    """
    if not len(item_FD):
        rng = derive(seed, "first vectors")
        return rng.normal(0.0, 0.02, (new, item_FD.shape[1])).astype(np.float32)
    if source_FC is not None and source_NC is not None:
        known_FC, asked_NC = _with_one(source_FC), _with_one(source_NC)
        penalty = l2 * np.eye(known_FC.shape[1])
        slope_CD = np.linalg.solve(known_FC.T @ known_FC + penalty, known_FC.T @ item_FD)
        return (asked_NC @ slope_CD).astype(np.float32)
    noise_ND = derive(seed, "first vectors").normal(size=(new, item_FD.shape[1]))
    spread_D = NOISE * item_FD.std(axis=0)
    return (item_FD.mean(axis=0) + noise_ND * spread_D).astype(np.float32)


def _with_one(source_NC: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(source_NC)), source_NC.astype(np.float64)])
