"""Balance: are the groups alike in what was known before the treatment?

    standardised mean difference = (weighted mean of treated - of untreated) / s
    variance ratio               = weighted variance of treated / of untreated

s is fixed before weighting, so that a shrinking spread cannot pass for balance: the standard deviation of
the treated for the effect on them (att), else sqrt((s1^2 + s0^2) / 2) (Stuart, Statistical Science 2010;
Austin, Statistics in Medicine 2009). Below 0.1 in absolute value is the usual line; variance ratios should lie in
[0.5, 2].

Shape: N units, T balance terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from muma.evaluation.causal.specification import column, quoted
from muma.evaluation.causal.study import Study
from muma.evaluation.causal.weighting import Estimand

_LEAST_SHARE = 0.05  # of zeros, for a covariate's zero to be a term of its own


@dataclass(frozen=True)
class Balance:
    """One row of the table.

    Attributes:
        term: covariate or indicator.
        treated, untreated: weighted means.
        before: standardised mean difference without weights.
        after: the same with the design's weights.
        ratio_before, ratio_after: variance ratios; NaN for indicators and where a variance is 0.
    """

    term: str
    treated: float
    untreated: float
    before: float
    after: float
    ratio_before: float
    ratio_after: float


@dataclass(frozen=True)
class BalanceTable:
    """Every balance term before and after."""

    rows: tuple[Balance, ...]

    @property
    def largest_before(self) -> float:
        """Largest |standardised mean difference| without weights."""
        return max(abs(row.before) for row in self.rows)

    @property
    def largest(self) -> float:
        """Largest |standardised mean difference| with the design's weights."""
        return max(abs(row.after) for row in self.rows)

    @property
    def worst(self) -> Balance:
        """The row of `largest`."""
        return max(self.rows, key=lambda row: abs(row.after))

    def as_json(self) -> list[dict[str, Any]]:
        """Plain data, worst balance before first; NaN is None, infinity a text."""
        ordered = sorted(self.rows, key=lambda row: -abs(row.before))
        return [{key: _plain(value) for key, value in vars(row).items()} for row in ordered]


def balance_terms(study: Study) -> tuple[str, ...]:
    """The terms that balance is asked of: each covariate, and the zeros of those that have many.

    A covariate with more than two values of which 5 % or more (and not all) are 0, such as earnings, is
    two facts: whether, and how much.
    """
    terms = [quoted(name) for name in study.columns]
    for name, value_N in zip(study.columns, study.covariate_NF.T, strict=True):
        share = float(np.mean(value_N == 0))
        if _LEAST_SHARE <= share < 1 and len(np.unique(value_N)) > 2:
            terms.append(f"{quoted(name)}=0")
    return tuple(terms)


def balance(
    study: Study,
    weight_N: np.ndarray,
    *,
    estimand: Estimand,
    terms: Sequence[str] | None = None,
) -> BalanceTable:
    """Tell balance before and after weighting.

    Args:
        study: the units.
        weight_N: the design's weights, 0 for units left out; both groups must have some weight.
        estimand: of whom the effect is; decides the denominator.
        terms: what to compare; `balance_terms` by default.

    Example:
        >>> from muma.evaluation.causal.study import study_of
        >>> study = study_of(np.array([1, 1, 0, 0]), np.array([[1.0], [3.0], [1.0], [7.0]]), ["x"])
        >>> table = balance(study, np.array([1.0, 1.0, 5.0, 1.0]), estimand="att")
        >>> round(table.rows[0].before, 4), table.rows[0].after
        (-1.4142, 0.0)
    """
    terms = balance_terms(study) if terms is None else tuple(terms)
    value_NT = np.stack([column(study, term) for term in terms], axis=1)
    return table_of(terms, value_NT, study.treated_N, weight_N, estimand)


def table_of(
    terms: Sequence[str],
    value_NT: np.ndarray,
    treated_N: np.ndarray,
    weight_N: np.ndarray,
    estimand: Estimand,
) -> BalanceTable:
    """The table from worked-out terms; what a search calls again and again."""
    ones_N = np.ones(len(weight_N))
    (mean1, var1), (mean0, var0) = _moments(value_NT, ones_N, treated_N)
    (after1, spread1), (after0, spread0) = _moments(value_NT, weight_N, treated_N)
    scale_T = scales(value_NT, treated_N, estimand)
    before_T, after_T = _over(mean1 - mean0, scale_T), _over(after1 - after0, scale_T)
    rows = []
    for t, term in enumerate(terms):
        two_valued = len(np.unique(value_NT[:, t])) <= 2
        was, now = (
            float("nan") if two_valued or not below > 0 else float(above / below)
            for above, below in ((var1[t], var0[t]), (spread1[t], spread0[t]))
        )
        one, zero, gap, gap_after = map(float, (after1[t], after0[t], before_T[t], after_T[t]))
        rows.append(Balance(term, one, zero, gap, gap_after, was, now))
    return BalanceTable(tuple(rows))


def largest_difference(
    value_NT: np.ndarray, treated_N: np.ndarray, weight_N: np.ndarray, scale_T: np.ndarray
) -> np.ndarray:
    """|standardised mean difference| of each term with given denominators, [T]."""
    one_N, zero_N = np.where(treated_N, weight_N, 0.0), np.where(treated_N, 0.0, weight_N)
    value_NT = value_NT - value_NT[0]  # a constant has no difference, not one of rounding
    gap_T = one_N @ value_NT / one_N.sum() - zero_N @ value_NT / zero_N.sum()
    return np.abs(_over(gap_T, scale_T))


def scales(value_NT: np.ndarray, treated_N: np.ndarray, estimand: Estimand) -> np.ndarray:
    """Denominators of the standardised mean differences, [T]."""
    (_, var1), (_, var0) = _moments(value_NT, np.ones(len(value_NT)), treated_N)
    pooled_T = np.sqrt((var1 + var0) / 2)
    return np.where(var1 > 0, np.sqrt(var1), pooled_T) if estimand == "att" else pooled_T


def _moments(
    value_NT: np.ndarray, weight_N: np.ndarray, treated_N: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weighted mean and variance in each group; the variance with Kish's degrees of freedom."""
    found = []
    for group_N in (treated_N, ~treated_N):
        share_N = weight_N[group_N] / weight_N[group_N].sum()
        first_T = value_NT[group_N][0]  # a constant has a variance of 0, not one of rounding
        rest_nT = value_NT[group_N] - first_T
        mean_T = share_N @ rest_nT
        lost = 1 - float(share_N @ share_N)
        square_T = share_N @ (rest_nT - mean_T) ** 2
        found.append(
            (first_T + mean_T, square_T / lost if lost > 0 else np.full(len(mean_T), np.nan))
        )
    return found


def _over(gap_T: np.ndarray, scale_T: np.ndarray) -> np.ndarray:
    """Differences in units of the scale; where that is 0, no difference is 0 and any is infinite."""
    safe_T = np.where(scale_T > 0, scale_T, 1.0)
    return np.where(
        scale_T > 0, gap_T / safe_T, np.where(gap_T == 0, 0.0, np.copysign(np.inf, gap_T))
    )


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not np.isfinite(value):
        return None if np.isnan(value) else str(value)
    return value
