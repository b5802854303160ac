"""Pareto k-hat: the shape of the tail that the largest weights fall into.

The exceedances of the min(n / 5, 3 sqrt(n)) largest weights are fitted by a generalised Pareto law
(Zhang and Stephens, Technometrics 2009), with k drawn a little to 1/2 as in Vehtari et al., Pareto
smoothed importance sampling, JMLR 2024: 1/k moments exist. Above 0.7 the estimate does not settle at any
useful number of rounds.

Shape: B rounds, M candidates of the fit.
"""

from __future__ import annotations

import numpy as np

_LEAST = 5  # exceedances below which nothing is fitted


def pareto_k(weight_B: np.ndarray) -> float:
    """Shape of the tail of the weights; NaN where too few weights stand out.

    Args:
        weight_B: importance weights, at least 0, float64 [B].

    Example:
        >>> pareto_k(np.ones(100))
        nan
    """
    n = len(weight_B)
    tail = int(np.ceil(min(0.2 * n, 3 * np.sqrt(n))))
    if n < 25 or tail < _LEAST:
        return float("nan")
    largest = np.sort(np.partition(weight_B, n - tail - 1)[n - tail - 1 :])
    excess = largest[1:] - largest[0]
    # ties with the cutoff (few distinct weights) are no exceedances
    excess = excess[excess > 1e-12 * max(largest[-1], 1e-300)]
    return _shape(excess) if len(excess) >= _LEAST else float("nan")


def _shape(excess: np.ndarray) -> float:
    """Zhang and Stephens' posterior-mean-like estimate; `excess` ascends and is above 0."""
    n = len(excess)
    candidates = 30 + int(np.sqrt(n))
    theta_M = 1 - np.sqrt(candidates / (np.arange(1, candidates + 1) - 0.5))
    theta_M = theta_M / (3 * excess[int(n / 4 + 0.5) - 1]) + 1 / excess[-1]
    k_M = np.log1p(-theta_M[:, None] * excess).mean(axis=1)
    # towards theta = 0, which equal exceedances meet exactly, the law is exponential
    bent_M = k_M != 0
    rate_M = np.divide(-theta_M, k_M, out=np.full(candidates, 1 / excess.mean()), where=bent_M)
    fit_M = n * (np.log(rate_M) - k_M - 1)
    share_M = np.exp(fit_M - fit_M.max())
    theta = float((theta_M * share_M).sum() / share_M.sum())
    k = float(np.log1p(-theta * excess).mean())
    return (n * k + 5) / (n + 10)
