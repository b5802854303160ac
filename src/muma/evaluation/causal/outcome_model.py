"""Models of the outcome for AIPW and for the bias correction of matching.

Shape: N units, P terms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np


class Regressor(Protocol):
    """A model handed in, such as scikit-learn's `HistGradientBoostingRegressor()`."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> object:
        """Learn from rows."""
        ...

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Expected outcomes, [N]."""
        ...


MakeRegressor = Callable[[], Regressor]
"""Returns a fresh regressor each time."""


class Linear:
    """Least squares with a constant; of many solutions the shortest, on standardised terms.

    Example:
        >>> model = Linear().fit(np.array([[0.0], [1.0]]), np.array([1.0, 3.0]))
        >>> model.predict(np.array([[2.0]])).round(6).tolist()
        [5.0]
    """

    def fit(self, X: np.ndarray, y: np.ndarray, weight_N: np.ndarray | None = None) -> Linear:
        """Learn from rows, weighted if asked."""
        root_N = np.ones(len(y)) if weight_N is None else np.sqrt(weight_N)
        self._centre_P, spread_P = X.mean(axis=0), X.std(axis=0)
        self._spread_P = np.where(spread_P > 0, spread_P, 1.0)
        self._coefficient_Q = np.linalg.lstsq(
            self._standard(X) * root_N[:, None], y * root_N, rcond=1e-10
        )[0]
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Expected outcomes, float64 [N]."""
        return self._standard(X) @ self._coefficient_Q

    def _standard(self, X: np.ndarray) -> np.ndarray:
        scaled = (X - self._centre_P) / self._spread_P
        return np.concatenate([np.ones((len(X), 1)), scaled], axis=1)
