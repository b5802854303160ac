"""Which features to doubt: those that never help, and those whose part changes sign with time.

    share_f  = mean_n |phi_nf| / sum_g mean_n |phi_ng|
    effect_f = rank correlation of a feature's value and its part; > 0: more of it lifts the score

A feature never helps if its share is below a bound in every fold, or if leaving it out costs nothing
beyond noise in every fold. It flips if the effect is positive beyond doubt in one fold and negative
beyond doubt in another. Doubt is a bootstrap over lists (candidates of one list are not independent),
with bounds widened for the number of features and folds looked at (Bonferroni).

Shape: N rows of a fold, F features, K repeats of an ablation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field
from scipy.stats import norm, rankdata

from muma.config import Config
from muma.errors import ConfigError, DataError
from muma.rng import derive


class GuidanceConfig(Config):
    """Parameters of the guidance.

    Attributes:
        least_share: below this share of the total attribution in every fold a feature never helps.
        least_effect: rank correlations nearer to 0 are no direction at all.
        level: confidence of all statements together.
        n_resamples: bootstrap resamples.
        seed: of the bootstrap.
    """

    least_share: float = Field(default=0.002, ge=0, lt=1)
    least_effect: float = Field(default=0.1, ge=0, lt=1)
    level: float = Field(default=0.95, gt=0, lt=1)
    n_resamples: int = Field(default=200, ge=20)
    seed: int = 0


@dataclass(frozen=True)
class Fold:
    """Attributions of a stretch of time, by the model that was trained before it.

    Attributes:
        name: of the stretch, for messages.
        value_NF: features; NaN is missing.
        phi_NF: their attributions, without the base.
        group_N: which list a row belongs to; None: every row is its own.
        gain_KF: loss without the feature minus loss with it, K repeats (permutations, or lists);
            None: not measured.
    """

    name: str
    value_NF: np.ndarray
    phi_NF: np.ndarray
    group_N: np.ndarray | None = None
    gain_KF: np.ndarray | None = None


@dataclass(frozen=True)
class Advice:
    """A feature to doubt.

    Attributes:
        name: of the feature.
        kind: `no_share`, `no_gain` or `flips`.
        reason: a sentence with the numbers.
        found: the number of each fold: shares, gains or effects.
    """

    name: str
    kind: Literal["no_share", "no_gain", "flips"]
    reason: str
    found: tuple[float, ...]


def advise(
    folds: Sequence[Fold], columns: Sequence[str], config: GuidanceConfig | None = None
) -> tuple[Advice, ...]:
    """List the features to doubt, with reasons; those that never help first.

    Args:
        folds: stretches of time in order, at least one.
        columns: names of the F features.
        config: bounds.

    Raises:
        ConfigError: there is no fold.
        DataError: a fold's arrays do not fit the columns or each other, or hold no row.
    """
    config = config or GuidanceConfig()
    if not folds:
        raise ConfigError("guidance needs at least one fold of attributions")
    for fold in folds:
        _check(fold, len(columns))
    z = float(norm.ppf(1 - (1 - config.level) / (2 * len(columns) * len(folds))))
    share_TF = np.array([_shares(fold.phi_NF) for fold in folds])
    found = [_no_share(name, share_TF[:, f], config) for f, name in enumerate(columns)]
    found += _no_gain(folds, columns, z)
    effects = [effect(fold, config) for fold in folds]
    at_TF, error_TF = (np.array(arrays) for arrays in zip(*effects, strict=True))
    for f, name in enumerate(columns):
        found.append(_flips(name, folds, at_TF[:, f], z * error_TF[:, f], config))
    return tuple(advice for advice in found if advice is not None)


def effect(fold: Fold, config: GuidanceConfig | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Rank correlation of value and attribution, and its bootstrap standard error: two float64 [F].

    Ranks are those of the whole fold, kept in every resample. NaN for a feature that is constant or
    missing throughout, or whose attributions are.
    """
    config = config or GuidanceConfig()
    n, n_features = fold.value_NF.shape
    group_N = (
        np.arange(n) if fold.group_N is None else np.unique(fold.group_N, return_inverse=True)[1]
    )
    n_groups = int(group_N.max()) + 1
    rng = derive(config.seed, "guidance", fold.name)
    count_RG = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), config.n_resamples)
    weight_RN = np.vstack([np.ones(n), count_RG[:, group_N]]).astype(np.float64)
    at_F, error_F = np.full(n_features, np.nan), np.full(n_features, np.nan)
    for f in range(n_features):
        known_N = ~np.isnan(fold.value_NF[:, f])
        if known_N.sum() < 3:
            continue
        x, y = (rankdata(a[known_N, f]) for a in (fold.value_NF, fold.phi_NF))
        moments_N6 = np.zeros((n, 6))
        moments_N6[known_N] = _moments(x, y)
        drawn_R = _correlation(weight_RN @ moments_N6)
        at_F[f] = drawn_R[0]
        drawn_R = drawn_R[1:][np.isfinite(drawn_R[1:])]
        error_F[f] = drawn_R.std(ddof=1) if len(drawn_R) > 1 else np.nan
    return at_F, error_F


def _moments(x_N: np.ndarray, y_N: np.ndarray) -> np.ndarray:
    x_N, y_N = x_N - x_N.mean(), y_N - y_N.mean()
    return np.column_stack([np.ones(len(x_N)), x_N, y_N, x_N * x_N, y_N * y_N, x_N * y_N])


def _correlation(sum_R6: np.ndarray) -> np.ndarray:
    """Pearson correlation from summed moments, by row; NaN where one side is constant."""
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y, xx, yy, xy = (sum_R6[:, 1:] / sum_R6[:, :1]).T
        spread = np.sqrt(np.maximum(xx - x * x, 0.0) * np.maximum(yy - y * y, 0.0))
        return np.where(spread > 1e-9, (xy - x * y) / spread, np.nan)


def _shares(phi_NF: np.ndarray) -> np.ndarray:
    size_F = np.abs(phi_NF).mean(axis=0)
    return size_F / size_F.sum() if size_F.sum() > 0 else size_F


def _no_share(name: str, share_T: np.ndarray, config: GuidanceConfig) -> Advice | None:
    if (share_T >= config.least_share).any():
        return None
    return Advice(
        name,
        "no_share",
        f"at most {share_T.max():.2%} of the attributions in any of {len(share_T)} folds; "
        f"less than {config.least_share:.2%} never helps",
        tuple(share_T.tolist()),
    )


def _no_gain(folds: Sequence[Fold], columns: Sequence[str], z: float) -> list[Advice | None]:
    """Features whose gain is not above noise in any fold, where every fold has gains."""
    gains = [fold.gain_KF for fold in folds if fold.gain_KF is not None]
    if len(gains) < len(folds):
        return []
    mean_TF = np.array([gain_KF.mean(axis=0) for gain_KF in gains])
    error_TF = np.array([g.std(axis=0, ddof=1) / np.sqrt(len(g)) for g in gains])
    noise_F = np.all(mean_TF - z * error_TF <= 0, axis=0)
    return [
        Advice(
            name,
            "no_gain",
            f"leaving it out costs {_spell(mean_TF[:, f])} by fold, "
            f"never beyond the noise of {_spell(z * error_TF[:, f])}",
            tuple(mean_TF[:, f].tolist()),
        )
        for f, name in enumerate(columns)
        if noise_F[f]
    ]


def _flips(
    name: str, folds: Sequence[Fold], at_T: np.ndarray, margin_T: np.ndarray, config: GuidanceConfig
) -> Advice | None:
    least = config.least_effect
    up_T = (at_T - margin_T > 0) & (at_T >= least)
    down_T = (at_T + margin_T < 0) & (at_T <= -least)
    if not (up_T.any() and down_T.any()):
        return None
    up, down = int(np.nanargmax(at_T)), int(np.nanargmin(at_T))
    return Advice(
        name,
        "flips",
        f"more of it lifts the score in {folds[up].name} ({at_T[up]:+.2f} +- {margin_T[up]:.2f}) and "
        f"lowers it in {folds[down].name} ({at_T[down]:+.2f} +- {margin_T[down]:.2f}); look for a "
        "change of meaning, outliers or a season",
        tuple(at_T.tolist()),
    )


def _spell(values: np.ndarray) -> str:
    return ", ".join(f"{value:.2g}" for value in values)


def _check(fold: Fold, n_features: int) -> None:
    shape = fold.value_NF.shape
    if shape != fold.phi_NF.shape or len(shape) != 2 or shape[1] != n_features or not shape[0]:
        raise DataError(
            f"fold {fold.name!r}: values are {shape} and attributions {fold.phi_NF.shape}; both must "
            f"be [rows, {n_features}] with a row at least"
        )
    if not np.isfinite(fold.phi_NF).all():
        raise DataError(f"fold {fold.name!r}: attributions must be finite")
    if fold.group_N is not None and fold.group_N.shape != shape[:1]:
        raise DataError(f"fold {fold.name!r}: {fold.group_N.shape} groups for {shape[0]} rows")
    gain = fold.gain_KF
    if gain is not None and (gain.ndim != 2 or gain.shape[1] != n_features or len(gain) < 2):
        raise DataError(
            f"fold {fold.name!r}: gains are {gain.shape}; they must be [repeats, {n_features}] with "
            "two repeats at least"
        )
