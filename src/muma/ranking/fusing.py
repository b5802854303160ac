"""How much of each engine: the weight alpha of eq. 20, with what can be said about it.

The loss of every list is computed for every alpha of a grid; then the best alpha, and everything its
bootstrap over lists needs, are sums of rows of that one table.

Shape: N examples, G lists, A values of alpha, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import expit, logit

from muma.ranking.calibration import log_loss
from muma.rng import derive

Form = Literal["logit", "literal"]
Interval = tuple[float, float, float]
"""Value, lower and upper bound (95 %)."""

_ALPHA_A = np.linspace(0.0, 1.0, 101)
_FLOOR = 1e-12


@dataclass(frozen=True)
class Fusion:
    """The chosen weight of the first engine, and the pair's gain over each engine alone.

    Attributes:
        alpha: weight of the first engine with its bootstrap interval; NaN bounds if it was given.
        loss: mean loss of the two engines alone and of the pair: log loss, or 1 - NDCG@10.
        gain: loss of each engine alone minus the pair's. The bounds are out of bag: alpha is
            chosen on the lists that a resample drew and judged on those it did not.
        lists: number of lists behind it.
    """

    alpha: Interval
    loss: tuple[float, float, float]
    gain: tuple[Interval, Interval]
    lists: int


def fused(first_N: np.ndarray, second_N: np.ndarray, alpha: float, form: Form) -> np.ndarray:
    """Log-odds of the pair (eq. 20).

    `"logit"` averages log-odds; `"literal"` averages probabilities, as the paper writes it, and returns
    the log-odds of that average.

    Example:
        >>> fused(np.array([0.0]), np.array([2.0]), 0.5, "logit").tolist()
        [1.0]
    """
    if form == "logit":
        return alpha * first_N + (1 - alpha) * second_N
    p_N = alpha * expit(first_N) + (1 - alpha) * expit(second_N)
    return logit(np.clip(p_N, _FLOOR, 1 - _FLOOR))


def choose_alpha(
    first_N: np.ndarray,
    second_N: np.ndarray,
    label_N: np.ndarray,
    group_N: np.ndarray,
    weight_N: np.ndarray | None = None,
    *,
    form: Form = "logit",
    ranked: bool = False,
    alpha: float | None = None,
    resamples: int = 200,
    seed: int = 0,
) -> Fusion:
    """Choose alpha by the mean log loss, or for a rank loss by NDCG@10, on held-out lists.

    Args:
        first_N: calibrated log-odds of the first engine.
        second_N: those of the second.
        label_N: labels; grades if `ranked`.
        group_N: list of each example; equal values need not lie together.
        weight_N: importance of examples; a list counts with their sum, or if `ranked` with their mean.
        form: how the two are fused.
        ranked: judge by order within lists.
        alpha: a fixed weight instead of a search.
        resamples: bootstrap resamples of lists; 0 leaves all bounds NaN.
        seed: of the resamples.
    """
    _, list_N = np.unique(group_N, return_inverse=True)
    weight_N = np.ones(len(label_N)) if weight_N is None else weight_N
    weight_G = np.bincount(list_N, weight_N)
    if ranked:
        weight_G = weight_G / np.bincount(list_N)
        weight_G = weight_G * (np.bincount(list_N, label_N > 0) > 0)
    grid_A = _ALPHA_A if alpha is None else np.array([1.0, 0.0, alpha])
    loss_GA = np.empty((len(weight_G), len(grid_A)))
    for place, share in enumerate(grid_A):
        fused_N = fused(first_N, second_N, float(share), form)
        if ranked:
            loss_GA[:, place] = weight_G * (1 - ndcg(fused_N, label_N, list_N, k=10))
        else:
            loss_GA[:, place] = np.bincount(list_N, weight_N * log_loss(fused_N, label_N))
    one, zero = int(np.argmax(grid_A == 1.0)), int(np.argmax(grid_A == 0.0))
    total = max(weight_G.sum(), _FLOOR)
    mean_A = loss_GA.sum(axis=0) / total
    best = int(np.argmin(mean_A)) if alpha is None else 2
    counts_RG = _counts(len(weight_G), resamples, seed)
    alpha_R, gain_R2 = _resampled(loss_GA, weight_G, counts_RG, (one, zero), alpha, grid_A)
    gains = [
        (float(mean_A[single] - mean_A[best]), *_bounds(gain_R2[:, column]))
        for column, single in enumerate((one, zero))
    ]
    low, high = _bounds(alpha_R) if alpha is None else (np.nan, np.nan)
    return Fusion(
        (float(grid_A[best]), low, high),
        (float(mean_A[one]), float(mean_A[zero]), float(mean_A[best])),
        (gains[0], gains[1]),
        len(weight_G),
    )


def ndcg(score_N: np.ndarray, label_N: np.ndarray, list_N: np.ndarray, *, k: int) -> np.ndarray:
    """NDCG@k of each list with gains 2^grade - 1: float64 [G]; a list without a positive gets 1.

    Jarvelin and Kekalainen, "Cumulated gain-based evaluation of IR techniques", 2002. Equal scores
    stand in the order given.

    Args:
        score_N: scores.
        label_N: grades.
        list_N: list of each example: 0, 1, ... without gaps.
        k: depth.

    Example:
        >>> ndcg(np.array([2.0, 1.0]), np.array([0.0, 1.0]), np.array([0, 0]), k=1).tolist()
        [0.0]
    """
    got_G = _dcg(score_N, label_N, list_N, k)
    best_G = _dcg(label_N, label_N, list_N, k)
    return np.where(best_G > 0, got_G / np.where(best_G > 0, best_G, 1), 1.0)


def _dcg(score_N: np.ndarray, label_N: np.ndarray, list_N: np.ndarray, k: int) -> np.ndarray:
    order_N = np.lexsort((-score_N, list_N))
    size_G = np.bincount(list_N)
    rank_N = np.arange(len(list_N)) - np.repeat(np.cumsum(size_G) - size_G, size_G)
    gain_N = (2.0 ** label_N[order_N] - 1) / np.log2(rank_N + 2) * (rank_N < k)
    return np.bincount(list_N[order_N], gain_N, minlength=len(size_G))


def _counts(lists: int, resamples: int, seed: int) -> np.ndarray:
    rng = derive(seed, "fusion")
    return rng.multinomial(lists, np.full(lists, 1 / lists), size=resamples).astype(np.float64)


def _resampled(
    loss_GA: np.ndarray,
    weight_G: np.ndarray,
    counts_RG: np.ndarray,
    singles: tuple[int, int],
    alpha: float | None,
    grid_A: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Alpha chosen in each bag, and the gains out of that bag."""
    best_R = np.argmin(counts_RG @ loss_GA, axis=1)
    if alpha is not None:
        best_R[:] = 2
    out_RG = (counts_RG == 0).astype(np.float64)
    loss_RA = out_RG @ loss_GA
    total_R = out_RG @ weight_G
    pair_R = loss_RA[np.arange(len(best_R)), best_R]
    with np.errstate(invalid="ignore", divide="ignore"):
        gain_R2 = (loss_RA[:, singles] - pair_R[:, None]) / total_R[:, None]
    return grid_A[best_R], gain_R2


def _bounds(value_R: np.ndarray) -> tuple[float, float]:
    value_R = value_R[np.isfinite(value_R)]
    if not len(value_R):
        return np.nan, np.nan
    low, high = np.quantile(value_R, [0.025, 0.975])
    return float(low), float(high)
