"""How likely a rank was looked at, estimated from a log; weights that undo it.

A last resort: where nothing was randomised, the click rate of a rank mixes examination with how good
the items there were, so these propensities are biased towards a log that ranked well. Joachims et al.,
"Unbiased learning-to-rank with biased feedback", WSDM 2017, weigh clicks by 1 / propensity.

Shape: N impressions, P ranks.
"""

from __future__ import annotations

import numpy as np

from muma.errors import DataError


def examination(
    position_N: np.ndarray, label_N: np.ndarray, *, smoothing: float = 20.0
) -> np.ndarray:
    """Click rate of each rank relative to the first, never rising with the rank: float64 [P].

    Each rank's rate is shrunk towards the overall rate as if `smoothing` impressions of it had been
    added; the result is made non-increasing by a running minimum.

    Args:
        position_N: rank of each impression, from 1.
        label_N: whether it was clicked, 0 or 1.
        smoothing: strength of the shrinkage, in impressions.

    Raises:
        DataError: there are no impressions, or a rank below 1.

    Example:
        >>> position_N, label_N = np.array([1, 1, 2, 2]), np.array([1.0, 1, 1, 0])
        >>> examination(position_N, label_N, smoothing=0).tolist()
        [1.0, 0.5]
    """
    if len(position_N) == 0 or position_N.shape != label_N.shape:
        raise DataError(
            f"{len(position_N)} positions and {len(label_N)} labels; give as many of each, and some"
        )
    if not np.issubdtype(position_N.dtype, np.integer) or position_N.min() < 1:
        raise DataError("positions must be integers from 1; the first place is 1")
    shown_P = np.bincount(position_N)[1:]
    clicked_P = np.bincount(position_N, label_N)[1:]
    rate_P = (clicked_P + smoothing * label_N.mean()) / np.maximum(shown_P + smoothing, 1e-12)
    if rate_P[0] <= 0:
        return np.ones(len(rate_P))
    rate_P = np.where(shown_P + smoothing > 0, rate_P, rate_P[0])
    return np.minimum.accumulate(rate_P / rate_P[0])


def position_weights(
    position_N: np.ndarray, label_N: np.ndarray, *, smoothing: float = 20.0, floor: float = 0.1
) -> np.ndarray:
    """Inverse examination propensities with mean 1, to hand on as `Examples.weight_N`: float64 [N].

    Args:
        position_N: rank of each impression, from 1.
        label_N: whether it was clicked, 0 or 1.
        smoothing: see `examination`.
        floor: smallest propensity; no weight exceeds 1 / `floor` times that of rank 1.

    Raises:
        DataError: there are no impressions, a rank below 1, or a floor outside (0, 1].
    """
    if not 0 < floor <= 1:
        raise DataError(f"floor is {floor}; it must be above 0 and at most 1")
    propensity_P = examination(position_N, label_N, smoothing=smoothing)
    weight_N = 1 / np.maximum(propensity_P, floor)[position_N - 1]
    return weight_N / weight_N.mean()
