"""Platt scaling: an affine map of a margin, so that attributions stay additive.

    P(y = 1 | m) = 1 / (1 + exp(-(slope m + intercept)))

Platt, "Probabilistic outputs for support vector machines", 1999, here without his smoothed targets: the
fit is maximum likelihood by Newton's method. The slope stays positive: calibration never reorders.

Shape: N examples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

SMALLEST_SLOPE = 1e-3
_ROUNDS = 100
_TOLERANCE = 1e-12


@dataclass(frozen=True)
class Calibration:
    """An affine map of margins to log-odds; the default changes nothing.

    Attributes:
        slope: positive factor.
        intercept: log-odds at margin 0.
    """

    slope: float = 1.0
    intercept: float = 0.0

    def logit(self, margin_N: np.ndarray) -> np.ndarray:
        """Calibrated log-odds."""
        return self.slope * margin_N + self.intercept

    def parts(self, part_NF: np.ndarray) -> np.ndarray:
        """Attributions of the calibrated log-odds, from those of the margin; the base is last."""
        part_NF = self.slope * part_NF
        part_NF[:, -1] += self.intercept
        return part_NF


def platt(
    margin_N: np.ndarray, label_N: np.ndarray, weight_N: np.ndarray | None = None
) -> Calibration:
    """The most likely calibration; the identity where none exists.

    None exists if one class is missing, all margins are equal, or some threshold separates the
    classes (the best slope is then infinite).

    Args:
        margin_N: margins of held-out examples.
        label_N: their labels, 0 or 1.
        weight_N: their importance; None is 1 for all.

    Example:
        >>> margin_N = np.array([-1.0, -1, 1, 1, 1, -1, -1, 1])
        >>> found = platt(margin_N, np.array([0.0, 0, 1, 1, 1, 0, 1, 0]))
        >>> round(found.slope, 4), abs(round(found.intercept, 4))
        (1.0986, 0.0)
    """
    weight_N = np.ones(len(margin_N)) if weight_N is None else weight_N
    margin_N, label_N, weight_N = (a[weight_N > 0] for a in (margin_N, label_N, weight_N))
    positive = label_N > 0
    if not positive.any() or positive.all() or np.ptp(margin_N) == 0:
        return Calibration()
    if margin_N[positive].min() >= margin_N[~positive].max():
        return Calibration()
    centre, spread = margin_N.mean(), margin_N.std()
    x_N2 = np.column_stack([(margin_N - centre) / spread, np.ones(len(margin_N))])
    slope, intercept = _newton(x_N2, label_N, weight_N)
    slope /= spread
    if slope < SMALLEST_SLOPE:
        slope = SMALLEST_SLOPE
        offset_N = slope * (margin_N - centre)
        (intercept,) = _newton(x_N2[:, 1:], label_N, weight_N, offset_N)
    return Calibration(float(slope), float(intercept - slope * centre))


def log_loss(logit_N: np.ndarray, label_N: np.ndarray) -> np.ndarray:
    """Log loss of each example in nats, from log-odds; it does not overflow."""
    return np.logaddexp(0.0, logit_N) - label_N * logit_N


def _newton(
    x_NK: np.ndarray, label_N: np.ndarray, weight_N: np.ndarray, offset_N: np.ndarray | float = 0.0
) -> np.ndarray:
    """Maximum likelihood by Newton's method, halving a step that does not improve."""
    weight_N = weight_N / weight_N.sum()
    beta_K = np.zeros(x_NK.shape[1])
    loss = np.inf
    for _ in range(_ROUNDS):
        p_N = expit(x_NK @ beta_K + offset_N)
        gradient_K = x_NK.T @ (weight_N * (p_N - label_N))
        curvature_N = weight_N * p_N * (1 - p_N)
        hessian_KK = (x_NK * curvature_N[:, None]).T @ x_NK + 1e-14 * np.eye(len(beta_K))
        step_K = np.linalg.solve(hessian_KK, gradient_K)
        loss = weight_N @ log_loss(x_NK @ beta_K + offset_N, label_N)
        while True:
            moved = weight_N @ log_loss(x_NK @ (beta_K - step_K) + offset_N, label_N)
            if moved <= loss or np.abs(step_K).max() < _TOLERANCE:
                break
            step_K /= 2
        beta_K = beta_K - step_K
        if np.abs(step_K).max() < _TOLERANCE:
            break
    return beta_K
