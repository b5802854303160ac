"""Drift of calibration: probabilities no longer match what happens.

    logit P(y = 1) = intercept + slope * logit(p):  0 and 1 when p is calibrated

The test is a Wald test of both, with a covariance that lets rows of one cluster hang together.

References: Cox, "Two further applications of a model for binary regression", 1958; Liang and Zeger,
"Longitudinal data analysis using generalized linear models", 1986 (the covariance).

Shape: N rows, P bins of probability.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import chi2

_EDGE = 1e-6  # probabilities of 0 and 1 have no finite log-odds
_STEPS, _CLOSE = 50, 1e-10


@dataclass(frozen=True)
class Recalibration:
    """The logistic line that would mend the probabilities; NaN when it cannot be told.

    Attributes:
        intercept: log-odds to add at log-odds 0; 0 when calibrated.
        slope: below 1: too sure, above 1: not sure enough.
        intercept_error: its standard error.
        slope_error: its standard error.
        p_value: of the test that intercept = 0 and slope = 1.
    """

    intercept: float
    slope: float
    intercept_error: float
    slope_error: float
    p_value: float


def log_odds(probability_N: np.ndarray) -> np.ndarray:
    """Log-odds of probabilities, those next to 0 or 1 held off the edge: float64 [N]."""
    return logit(np.clip(np.asarray(probability_N, dtype=np.float64), _EDGE, 1 - _EDGE))


def recalibrate(
    probability_N: np.ndarray, label_N: np.ndarray, cluster_N: np.ndarray | None = None
) -> Recalibration:
    """Fit the line by Newton's method.

    Args:
        probability_N: predictions, 0 to 1.
        label_N: 0 or 1.
        cluster_N: dense clusters of rows; None: each row stands alone.
    """
    x_N2 = np.stack([np.ones(len(label_N)), log_odds(probability_N)], axis=1)
    nan = float("nan")
    nothing = Recalibration(nan, nan, nan, nan, nan)
    if not 0 < label_N.sum() < len(label_N) or np.ptp(x_N2[:, 1]) == 0:
        return nothing
    beta_2 = np.array([0.0, 1.0])
    for _ in range(_STEPS):
        p_N = expit(x_N2 @ beta_2)
        bread_22 = (x_N2 * (p_N * (1 - p_N))[:, None]).T @ x_N2
        if np.linalg.cond(bread_22) > 1e12:  # the labels are separable: no finite line
            return nothing
        step_2 = np.linalg.solve(bread_22, x_N2.T @ (label_N - p_N))
        size = float(np.abs(step_2).max())
        beta_2 = beta_2 + step_2 / max(1.0, size)
        if size < _CLOSE:
            break
    else:
        return nothing
    score_N2 = x_N2 * (label_N - expit(x_N2 @ beta_2))[:, None]
    if cluster_N is not None:
        score_N2 = np.stack([np.bincount(cluster_N, weights=s) for s in score_N2.T], axis=1)
    inverse_22 = np.linalg.inv(bread_22)
    n = len(score_N2)
    cov_22 = inverse_22 @ (score_N2.T @ score_N2) @ inverse_22 * (n / max(n - 1, 1))
    off_2 = beta_2 - np.array([0.0, 1.0])
    error_2 = np.sqrt(np.diag(cov_22))
    wald = float(off_2 @ np.linalg.pinv(cov_22) @ off_2)
    return Recalibration(
        intercept=float(beta_2[0]),
        slope=float(beta_2[1]),
        intercept_error=float(error_2[0]),
        slope_error=float(error_2[1]),
        p_value=float(chi2.sf(wald, 2)),
    )


def expected_calibration_error(
    count_P: np.ndarray, label_P: np.ndarray, probability_P: np.ndarray
) -> np.ndarray:
    """Sum over bins of |events that happened - events foretold| / all, from sums [..., P]."""
    total = count_P.sum(axis=-1)
    return np.abs(label_P - probability_P).sum(axis=-1) / np.where(total > 0, total, 1.0)
