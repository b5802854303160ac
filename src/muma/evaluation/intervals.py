"""Bootstrap percentile intervals over users, with resamples shared between models.

A resample draws B users with replacement; its weights are the counts of a multinomial. One weight
matrix times all models' values gives every model the same resamples, so that their differences are
as sharp as the pairing allows (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13).
A value that is NaN for a user leaves that user out of that model's mean, in each resample.

Shape: B users, M models (or metrics), R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from muma.errors import ConfigError, DataError
from muma.evaluation.result import Result
from muma.rng import derive

_CELLS = 1 << 22  # drawn indices held at once: 32 MiB


def bootstrap_means(
    values: Mapping[str, np.ndarray], *, seed: int, n_resamples: int = 2000, level: float = 0.95
) -> dict[str, Result]:
    """Mean over users and its percentile interval, for several models on the same users.

    Args:
        values: per-user values [B] by model; NaN where undefined.
        seed: the run's seed; equal seeds and users give equal resamples.
        n_resamples: bootstrap resamples, at least 1.
        level: confidence level in (0, 1).

    Returns:
        One `Result` a model, `label` its key. Without a defined user all is NaN; with one, the
        interval is NaN.

    Raises:
        ConfigError: `n_resamples` or `level` is out of range.
        DataError: the arrays differ in length.

    Example:
        >>> bootstrap_means({"a": np.array([0.0, 1.0, np.nan])}, seed=1)["a"].value
        0.5
    """
    if n_resamples < 1 or not 0 < level < 1:
        raise ConfigError(
            f"n_resamples is {n_resamples} and level {level}; allowed are at least 1 and (0, 1)"
        )
    if not values:
        return {}
    if len({np.shape(value_B) for value_B in values.values()}) > 1:
        raise DataError("the models' per-user values differ in length; align them by user first")
    value_BM = np.array([*values.values()], dtype=np.float64).T
    value_BM = value_BM[~np.isnan(value_BM).all(axis=1)]
    n_M = np.count_nonzero(~np.isnan(value_BM), axis=0)
    mean_M = [v[~np.isnan(v)].mean() if n else np.nan for v, n in zip(value_BM.T, n_M, strict=True)]
    bounds = np.full((2, len(values)), np.nan)
    if (n_M > 1).any():
        mean_RM = resampled_means(value_BM, seed=seed, n_resamples=n_resamples)
        tail = (1 - level) / 2
        many_M = n_M > 1
        bounds[:, many_M] = np.nanquantile(mean_RM[:, many_M], [tail, 1 - tail], axis=0)
    return {
        label: Result(
            float(mean_M[m]),
            float(bounds[0, m]),
            float(bounds[1, m]),
            n=int(n_M[m]),
            effective_n=float(n_M[m]),
            label=label,
        )
        for m, label in enumerate(values)
    }


def bootstrap_mean(
    value_B: np.ndarray,
    *,
    seed: int,
    n_resamples: int = 2000,
    level: float = 0.95,
    label: str = "",
) -> Result:
    """Mean over users and its percentile interval; see `bootstrap_means`.

    Example:
        >>> result = bootstrap_mean(np.arange(100.0), seed=1, label="rank")
        >>> result.value, result.n, result.low < 49.5 < result.high
        (49.5, 100, True)
    """
    values = {label: value_B}
    return bootstrap_means(values, seed=seed, n_resamples=n_resamples, level=level)[label]


def paired_difference(
    a_B: np.ndarray,
    b_B: np.ndarray,
    *,
    seed: int,
    n_resamples: int = 2000,
    level: float = 0.95,
    label: str = "",
) -> Result:
    """Mean of `a_B - b_B` over the users defined in both, with its percentile interval.

    Raises:
        DataError: the arrays differ in length.

    Example:
        >>> paired_difference(np.array([1.0, 2.0, np.nan]), np.array([0.5, 1.5, 1.0]), seed=1).value
        0.5
    """
    difference_B = difference(a_B, b_B)
    return bootstrap_mean(
        difference_B, seed=seed, n_resamples=n_resamples, level=level, label=label
    )


def difference(a_B: np.ndarray, b_B: np.ndarray) -> np.ndarray:
    """`a_B - b_B`, NaN where either is; float64 [B].

    Raises:
        DataError: the arrays differ in length.

    Example:
        >>> difference(np.array([1.0, np.nan]), np.array([0.5, 0.5])).tolist()
        [0.5, nan]
    """
    if np.shape(a_B) != np.shape(b_B):
        raise DataError(f"cannot pair {np.shape(a_B)} with {np.shape(b_B)} values; align by user")
    return np.asarray(a_B, dtype=np.float64) - np.asarray(b_B, dtype=np.float64)


def resampled_means(value_BM: np.ndarray, *, seed: int, n_resamples: int) -> np.ndarray:
    """Means of the defined values in each of R shared resamples; float64 [R, M].

    NaN where a resample holds no user with a defined value.

    Example:
        >>> resampled_means(np.ones((5, 2)), seed=1, n_resamples=3).tolist()
        [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    """
    n_users = len(value_BM)
    rng = derive(seed, "bootstrap")
    defined_BM = ~np.isnan(value_BM)
    complete = bool(defined_BM.all())
    filled_BM = np.where(defined_BM, value_BM, 0.0)
    mean_RM = np.empty((n_resamples, value_BM.shape[1]))
    step = max(1, _CELLS // n_users)
    for start in range(0, n_resamples, step):
        rows = min(step, n_resamples - start)
        drawn = rng.integers(n_users, size=(rows, n_users))
        drawn += np.arange(rows)[:, None] * n_users
        weight_RB = np.bincount(drawn.ravel(), minlength=rows * n_users).reshape(rows, n_users)
        weight_RB = weight_RB.astype(np.float64)
        count_RM = float(n_users) if complete else weight_RB @ defined_BM.astype(np.float64)
        sum_RM = weight_RB @ filled_BM
        mean_RM[start : start + rows] = sum_RM / np.where(count_RM == 0, np.nan, count_RM)
    return mean_RM
