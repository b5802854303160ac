"""Log loss: mean negative log-likelihood of binary labels, in nats.

    LL = -mean(y log p + (1 - y) log(1 - p))

Shape: N rows.
"""

from __future__ import annotations

import numpy as np

from muma.config import Config
from muma.errors import DataError
from muma.evaluation.metrics.auc import check_labels


def log_loss(label_N: np.ndarray, probability_N: np.ndarray) -> float:
    """Log loss in nats; NaN without rows.

    Probabilities are clipped to [eps, 1 - eps], eps of their own floating type, as scikit-learn
    does: one certain and wrong prediction costs about 36 (float64), not infinity.

    Args:
        label_N: 0/1 or boolean.
        probability_N: chance of label 1, in [0, 1].

    Raises:
        DataError: lengths differ, a label is not 0 or 1, or a probability is outside [0, 1].

    Example:
        >>> round(log_loss(np.array([1, 0]), np.array([0.5, 0.5])), 4)
        0.6931
    """
    label_N = check_labels(label_N, probability_N)
    probability_N = check_probabilities(probability_N)
    if len(label_N) == 0:
        return float("nan")
    eps = np.finfo(probability_N.dtype).eps
    clipped_N = np.clip(probability_N, eps, 1 - eps).astype(np.float64)
    return float(-np.mean(np.log(np.where(label_N == 1, clipped_N, 1 - clipped_N))))


def check_probabilities(probability_N: np.ndarray) -> np.ndarray:
    """Probabilities as floats.

    Raises:
        DataError: one is outside [0, 1].
    """
    probability_N = np.asarray(probability_N)
    if not np.issubdtype(probability_N.dtype, np.floating):
        probability_N = probability_N.astype(np.float64)
    if not ((probability_N >= 0) & (probability_N <= 1)).all():
        raise DataError("a probability is outside [0, 1]; pass probabilities, not raw scores")
    return probability_N


class LogLossConfig(Config):
    """`LogLoss` has no options."""


class LogLoss:
    """Log loss of all rows together, see `log_loss`."""

    name = "log_loss"

    def __init__(self, config: LogLossConfig | None = None) -> None:
        self.config = config or LogLossConfig()

    def pointwise(self, label_N: np.ndarray, score_N: np.ndarray) -> float:
        """Log loss in nats; NaN without rows."""
        return log_loss(label_N, score_N)
