"""Error over all pairs of user and item from ratings that people chose to give.

People rate what they like, so the mean error over given ratings is not that over all pairs. With the
chance p of each given rating to be given,

    V = sum_n l_n / p_n  /  sum_n 1 / p_n          (Schnabel et al., ICML 2016, self-normalised)

Shape: N given ratings.
"""

from __future__ import annotations

import numpy as np

from muma.errors import DataError
from muma.evaluation.off_policy.estimator import Terms
from muma.evaluation.off_policy.paired import paired_gain
from muma.evaluation.result import Result


def rating_error(
    loss_N: np.ndarray,
    propensity_N: np.ndarray | None = None,
    user_N: np.ndarray | None = None,
    *,
    level: float = 0.95,
    label: str = "",
) -> Result:
    """Mean loss over all pairs, with a t interval over users.

    Args:
        loss_N: loss of each given rating (squared or absolute error), finite.
        propensity_N: chance of each of them to be given, in (0, 1]; None: equal for all, which is the
            naive mean.
        user_N: who gave them, integers; None: each rating for itself.
        level: confidence level in (0, 1).
        label: of the result.

    Raises:
        DataError: there are no ratings, lengths differ, a loss is not finite, or a propensity is NaN
            or outside (0, 1].

    Example:
        >>> loss_N, propensity_N = np.array([1.0, 1.0, 4.0]), np.array([0.5, 0.5, 0.25])
        >>> rating_error(loss_N).value, rating_error(loss_N, propensity_N).value
        (2.0, 2.5)
    """
    loss_N = np.asarray(loss_N, np.float64)
    if not len(loss_N) or not np.isfinite(loss_N).all():
        raise DataError(f"{len(loss_N)} losses; at least one is needed, and all must be finite")
    weight_N = np.ones(len(loss_N))
    if propensity_N is not None:
        propensity_N = np.asarray(propensity_N, np.float64)
        possible = (propensity_N > 0) & (propensity_N <= 1)  # NaN fails both
        if propensity_N.shape != loss_N.shape or not possible.all():
            raise DataError(
                f"{propensity_N.shape} propensities, {int((~possible).sum())} of them outside (0, 1], "
                f"for {len(loss_N)} losses; every given rating had a chance to be given"
            )
        weight_N = 1 / propensity_N
    terms = Terms(weight_N * loss_N, denominator_B=weight_N, weight_B=weight_N)
    return paired_gain(terms, None, user_N, level=level, label=label)
