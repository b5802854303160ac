"""Weights that make the groups alike, by estimand, and their derivatives.

    estimand                        treated            untreated           of whom the effect is
    ate  all                        1 / e              1 / (1 - e)         everybody (Horvitz-Thompson)
    att  treated                    1                  e / (1 - e)         the treated
    ato  overlap                    1 - e              e                   those who might go either way

(Li, Morgan and Zaslavsky, JASA 2018, who show that overlap weights from a logistic model balance its terms
exactly.) Trimming leaves out units whose score promises no comparison (Crump et al., Biometrika 2009):
outside [trim, 1 - trim], and for the treated only above 1 - trim. It changes of whom the effect is told.

Shape: N units.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Estimand = Literal["att", "ate", "ato"]


def weights(score_N: np.ndarray, treated_N: np.ndarray, estimand: Estimand) -> np.ndarray:
    """Weight of each unit, float64 [N].

    Example:
        >>> weights(np.array([0.25, 0.25]), np.array([True, False]), "ate").round(4).tolist()
        [4.0, 1.3333]
    """
    if estimand == "ate":
        return np.where(treated_N, 1 / score_N, 1 / (1 - score_N))
    if estimand == "att":
        return np.where(treated_N, 1.0, score_N / (1 - score_N))
    return np.where(treated_N, 1 - score_N, score_N)


def weight_slopes(score_N: np.ndarray, treated_N: np.ndarray, estimand: Estimand) -> np.ndarray:
    """Derivative of each weight with respect to the log-odds of treatment, float64 [N]."""
    odds_N = score_N / (1 - score_N)
    if estimand == "ate":
        return np.where(treated_N, -1 / odds_N, odds_N)
    if estimand == "att":
        return np.where(treated_N, 0.0, odds_N)
    spread_N = score_N * (1 - score_N)
    return np.where(treated_N, -spread_N, spread_N)


def kept(score_N: np.ndarray, estimand: Estimand, trim: float) -> np.ndarray:
    """Which units trimming keeps, boolean [N]."""
    upper_N = score_N <= 1 - trim
    return upper_N if estimand == "att" else upper_N & (score_N >= trim)


def effective_size(weight_N: np.ndarray) -> float:
    """Size of an equally weighted sample as informative, (sum w)^2 / sum w^2 (Kish); 0 if empty."""
    square = float(np.sum(weight_N**2))
    return float(np.sum(weight_N)) ** 2 / square if square > 0 else 0.0
