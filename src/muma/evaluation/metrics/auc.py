"""Area under the ROC curve: the chance that a positive scores above a negative, ties half.

    AUC = (sum of the positives' mid-ranks - P (P + 1) / 2) / (P N)      (Mann-Whitney)

`grouped_auc` gives one value a group (a user, as a rule), the basis of GAUC.

Shape: N rows, G groups.
"""

from __future__ import annotations

import numpy as np

from muma.config import Config
from muma.errors import DataError


def auc(label_N: np.ndarray, score_N: np.ndarray) -> float:
    """AUC in [0, 1]; NaN when only one class is present.

    Args:
        label_N: 0/1 or boolean.
        score_N: any finite scores; only their order counts.

    Raises:
        DataError: lengths differ, a label is not 0 or 1, or a score is NaN.

    Example:
        >>> auc(np.array([0, 1, 1]), np.array([0.2, 0.2, 0.9]))
        0.75
    """
    value_G = grouped_auc(label_N, score_N, np.zeros(len(score_N), dtype=np.int64))[1]
    return float(value_G[0]) if len(value_G) else float("nan")


def grouped_auc(
    label_N: np.ndarray, score_N: np.ndarray, group_N: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """AUC within each group.

    Args:
        label_N: 0/1 or boolean.
        score_N: scores.
        group_N: group of each row (a user index, say).

    Returns:
        The distinct groups, ascending [G], and their AUC [G]; NaN for a group of one class.

    Raises:
        DataError: lengths differ, a label is not 0 or 1, or a score is NaN.

    Example:
        >>> groups, values = grouped_auc(np.array([0, 1, 1]), np.array([1, 2, 3]), np.array([5, 5, 6]))
        >>> groups.tolist(), values.tolist()
        ([5, 6], [1.0, nan])
    """
    label_N = check_labels(label_N, score_N)
    groups, group_N = np.unique(group_N, return_inverse=True)
    order = np.lexsort((score_N, group_N))
    group_N, score_N, label_N = group_N[order], np.asarray(score_N)[order], label_N[order]
    size_G = np.bincount(group_N, minlength=len(groups))
    first_G = np.cumsum(size_G) - size_G
    new_N = np.ones(len(group_N), dtype=bool)
    new_N[1:] = (group_N[1:] != group_N[:-1]) | (score_N[1:] != score_N[:-1])
    tie_N = np.cumsum(new_N) - 1
    tied = np.bincount(tie_N)
    middle_N = (np.cumsum(tied) - (tied - 1) / 2)[tie_N] if len(tie_N) else np.empty(0)
    rank_N = middle_N - first_G[group_N]
    positive_G = np.bincount(group_N, weights=label_N, minlength=len(groups))
    ranks_G = np.bincount(group_N, weights=rank_N * label_N, minlength=len(groups))
    pairs_G = positive_G * (size_G - positive_G)
    above_G = ranks_G - positive_G * (positive_G + 1) / 2
    return groups, np.where(pairs_G > 0, above_G / np.maximum(pairs_G, 1), np.nan)


def check_labels(label_N: np.ndarray, score_N: np.ndarray) -> np.ndarray:
    """Labels as float64, after checking them and the scores beside them.

    Raises:
        DataError: lengths differ, a label is not 0 or 1, or a score is NaN.
    """
    label_N = np.asarray(label_N, dtype=np.float64)
    if label_N.ndim != 1 or label_N.shape != np.shape(score_N):
        raise DataError(f"labels {label_N.shape} and scores {np.shape(score_N)} must be equal [N]")
    if not ((label_N == 0) | (label_N == 1)).all():
        raise DataError("a label is neither 0 nor 1; make the labels binary first")
    if np.isnan(score_N).any():
        raise DataError("a score is NaN; drop such rows first and say how many")
    return label_N


class AUCConfig(Config):
    """`AUC` has no options."""


class AUC:
    """AUC of all rows together, see `auc`."""

    name = "auc"

    def __init__(self, config: AUCConfig | None = None) -> None:
        self.config = config or AUCConfig()

    def pointwise(self, label_N: np.ndarray, score_N: np.ndarray) -> float:
        """AUC; NaN when only one class is present."""
        return auc(label_N, score_N)
