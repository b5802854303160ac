"""Intervals of row-wise metrics where the rows of a user belong together: users are resampled.

AUC, log loss and calibration are no means of users' values, so each resample weighs every row by how
often its user was drawn and computes the metric anew; models share the resamples, which pairs them
(Field and Welsh, JRSS B 2007, the cluster bootstrap).

    AUC_w = sum_{p, n} w_p w_n [s_p > s_n] + .5 [s_p = s_n]  /  (sum_p w_p  sum_n w_n)

Shape: N rows, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from muma.errors import DataError
from muma.evaluation.metrics.auc import check_labels
from muma.evaluation.metrics.log_loss import check_probabilities
from muma.evaluation.result import Result
from muma.rng import derive

Weighted = Callable[[np.ndarray], float]
"""Weights of the rows, float64 [N] -> the metric."""


def clustered(
    metrics: Mapping[str, Weighted],
    cluster_N: np.ndarray,
    *,
    baseline: str | None = None,
    seed: int,
    n_resamples: int = 500,
    level: float = 0.95,
) -> dict[str, Result]:
    """Value and percentile interval of each metric; with a baseline, of its difference from it.

    Args:
        metrics: name -> metric of weighted rows (`weighted_auc`, `weighted_mean`).
        cluster_N: the user of each row, any integers.
        baseline: one of the names; the others are told as (metric - baseline) on shared resamples.
        seed: equal seeds give equal resamples.
        n_resamples: bootstrap resamples.
        level: confidence level in (0, 1).

    Raises:
        DataError: there are no rows, or the baseline is not among the metrics.
    """
    if not len(cluster_N):
        raise DataError("there are no rows to measure")
    if baseline is not None and baseline not in metrics:
        raise DataError(f"baseline {baseline!r} is not among {', '.join(metrics)}")
    users, place_N = np.unique(cluster_N, return_inverse=True)
    rng = derive(seed, "clustered")
    ones_N = np.ones(len(cluster_N))
    whole = {name: metric(ones_N) for name, metric in metrics.items()}
    drawn: dict[str, list[float]] = {name: [] for name in metrics}
    for _ in range(n_resamples):
        count_U = np.bincount(rng.integers(0, len(users), len(users)), minlength=len(users))
        weight_N = count_U[place_N].astype(np.float64)
        for name, metric in metrics.items():
            drawn[name].append(metric(weight_N))
    tail = (1 - level) / 2
    found = {}
    for name in metrics:
        if name == baseline:
            continue
        value, sample_R = whole[name], np.array(drawn[name])
        if baseline is not None:
            value, sample_R = value - whole[baseline], sample_R - np.array(drawn[baseline])
        low, high = np.quantile(sample_R, [tail, 1 - tail])
        found[name] = Result(
            float(value), float(low), float(high), len(users), float(len(users)), name
        )
    return found


def weighted_auc(label_N: np.ndarray, score_N: np.ndarray) -> Weighted:
    """AUC of rows with weights; the sorting is done once.

    Args:
        label_N: 0/1.
        score_N: any finite scores.

    Raises:
        DataError: lengths differ, a label is not 0 or 1, or a score is NaN.

    Example:
        >>> weighted_auc(np.array([0, 1, 1]), np.array([0.2, 0.2, 0.9]))(np.ones(3))
        0.75
    """
    label_N = check_labels(label_N, score_N)
    order_N = np.argsort(score_N, kind="stable")
    sorted_N, label_N = np.asarray(score_N)[order_N], label_N[order_N]
    tie_N = np.concatenate([[0], np.cumsum(sorted_N[1:] != sorted_N[:-1])]).astype(np.int64)

    def metric(weight_N: np.ndarray) -> float:
        ordered_N = weight_N[order_N]
        positive_T = np.bincount(tie_N, weights=ordered_N * label_N)
        negative_T = np.bincount(tie_N, weights=ordered_N * (1 - label_N))
        below_T = np.cumsum(negative_T) - negative_T
        pairs = positive_T.sum() * negative_T.sum()
        above = (positive_T * (below_T + negative_T / 2)).sum()
        return float(above / pairs) if pairs > 0 else float("nan")

    return metric


def weighted_log_loss(label_N: np.ndarray, probability_N: np.ndarray) -> Weighted:
    """Log loss of rows with weights, in nats.

    Raises:
        DataError: lengths differ, a label is not 0 or 1, or a probability is outside [0, 1].
    """
    label_N = check_labels(label_N, probability_N)
    safe_N = np.clip(check_probabilities(probability_N), 1e-15, 1 - 1e-15)
    loss_N = -(label_N * np.log(safe_N) + (1 - label_N) * np.log1p(-safe_N))
    return lambda weight_N: float(weight_N @ loss_N / weight_N.sum())
