"""Which models differ from a baseline: paired tests on per-user values, corrected for many.

The sign-flip test permutes the labels "model" and "baseline" within each user: under the null, every
sign pattern of the per-user differences is equally likely (Fisher's randomisation test; Smucker et
al., CIKM 2007, recommend it for ranking metrics).

Shape: B users, M models, R sign patterns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from muma.errors import ConfigError
from muma.evaluation.intervals import bootstrap_means, difference
from muma.evaluation.result import Result
from muma.rng import derive

Test = Literal["sign_flip", "wilcoxon"]

_CELLS = 1 << 22
_TOLERANCE = 1e-12  # sums that differ by rounding alone are equal


@dataclass(frozen=True)
class Comparison:
    """A model against the baseline.

    Attributes:
        difference: mean of (model - baseline) over users defined in both, with its interval.
        p: two-sided p-value of the paired test; NaN without a user defined in both.
        p_holm: the same, corrected for all models of this comparison (Holm).
        separable: whether the interval of the difference excludes 0.
    """

    difference: Result
    p: float
    p_holm: float
    separable: bool


def compare(
    values: Mapping[str, np.ndarray],
    baseline: str,
    *,
    seed: int,
    test: Test = "sign_flip",
    n_resamples: int = 2000,
    n_permutations: int = 10_000,
    level: float = 0.95,
) -> dict[str, Comparison]:
    """Compare every other model with `baseline`, on the users defined in both.

    Args:
        values: per-user values [B] of one metric by model; NaN where undefined.
        baseline: key of the model to compare with.
        seed: the run's seed.
        test: `"sign_flip"` (mean difference) or `"wilcoxon"` (signed ranks).
        n_resamples: bootstrap resamples for the intervals, shared by all models.
        n_permutations: sign patterns, when there are too many to try all.
        level: confidence level of each interval (not corrected for many).

    Raises:
        ConfigError: the baseline is not among the models.
        DataError: the arrays differ in length.

    Example:
        >>> values = {"new": np.arange(9.0) + 1, "old": np.arange(9.0)}
        >>> result = compare(values, "old", seed=1)["new"]
        >>> result.difference.value, result.p, result.separable
        (1.0, 0.00390625, True)
    """
    if baseline not in values:
        raise ConfigError(f"baseline {baseline!r} is not among {', '.join(map(repr, values))}")
    deltas = {
        name: difference(value_B, values[baseline])
        for name, value_B in values.items()
        if name != baseline
    }
    results = bootstrap_means(deltas, seed=seed, n_resamples=n_resamples, level=level)
    p_M = np.array(
        [
            wilcoxon_p(delta_B)
            if test == "wilcoxon"
            else sign_flip_p(delta_B, seed=seed, n_permutations=n_permutations)
            for delta_B in deltas.values()
        ]
    )
    return {
        name: Comparison(results[name], float(p), float(adjusted), results[name].excludes(0.0))
        for name, p, adjusted in zip(deltas, p_M, holm(p_M), strict=True)
    }


def sign_flip_p(difference_B: np.ndarray, *, seed: int, n_permutations: int = 10_000) -> float:
    """Two-sided p-value of the mean difference under random signs.

    All 2^n patterns of the n non-zero differences are tried when they number at most
    `n_permutations` (the p-value is exact then); else as many are drawn and the observed one is
    counted with them: (1 + extreme) / (1 + drawn).

    Args:
        difference_B: paired differences; NaN for users to leave out.
        seed: the run's seed.
        n_permutations: sign patterns to try at most, at least 1.

    Returns:
        p in (0, 1]; 1 if all differences are 0, NaN if there are none.

    Raises:
        ConfigError: `n_permutations` is below 1.

    Example:
        >>> sign_flip_p(np.array([1.0, 2.0, 3.0]), seed=1)
        0.25
    """
    if n_permutations < 1:
        raise ConfigError(f"n_permutations is {n_permutations}; it must be at least 1")
    difference_B = np.asarray(difference_B, dtype=np.float64)
    difference_B = difference_B[~np.isnan(difference_B)]
    if len(difference_B) == 0:
        return float("nan")
    difference_B = difference_B[difference_B != 0]
    n_users = len(difference_B)
    if n_users == 0:
        return 1.0
    limit = abs(difference_B.sum()) - _TOLERANCE * np.abs(difference_B).sum()
    if n_users < 63 and 2**n_users <= n_permutations:
        bit_RB = (np.arange(2**n_users)[:, None] >> np.arange(n_users)) & 1
        return float(np.mean(np.abs(_flipped(bit_RB, difference_B)) >= limit))
    rng = derive(seed, "sign-flip")
    step = max(1, _CELLS // n_users)
    extreme = 0
    for start in range(0, n_permutations, step):
        rows = min(step, n_permutations - start)
        octets = rng.integers(256, size=(rows, -(-n_users // 8)), dtype=np.uint8)
        bit_RB = np.unpackbits(octets, axis=1, count=n_users)
        extreme += int(np.count_nonzero(np.abs(_flipped(bit_RB, difference_B)) >= limit))
    return (1 + extreme) / (1 + n_permutations)


def _flipped(bit_RB: np.ndarray, difference_B: np.ndarray) -> np.ndarray:
    return 2 * (bit_RB.astype(np.float64) @ difference_B) - difference_B.sum()


def wilcoxon_p(difference_B: np.ndarray) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test; zeros are dropped, NaN left out.

    Example:
        >>> wilcoxon_p(np.array([1.0, 2.0, 3.0, np.nan]))
        0.25
    """
    difference_B = np.asarray(difference_B, dtype=np.float64)
    difference_B = difference_B[~np.isnan(difference_B)]
    if len(difference_B) == 0:
        return float("nan")
    if not difference_B.any():
        return 1.0
    from scipy.stats import wilcoxon  # noqa: PLC0415 - a second that only those pay who ask for it

    return float(np.asarray(wilcoxon(difference_B[difference_B != 0]))[1])


def holm(p_M: np.ndarray) -> np.ndarray:
    """P-values corrected for many tests (Holm, 1979): step down, monotone, at most 1.

    NaN stays NaN and is not counted as a test.

    Example:
        >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
        [0.03, 0.06, 0.06]
    """
    p_M = np.asarray(p_M, dtype=np.float64)
    order = np.argsort(p_M)[: np.count_nonzero(~np.isnan(p_M))]
    adjusted_M = np.full(len(p_M), np.nan)
    factors = np.arange(len(order), 0, -1)
    adjusted_M[order] = np.minimum(np.maximum.accumulate(factors * p_M[order]), 1.0)
    return adjusted_M
