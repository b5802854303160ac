"""Propensity scores: P(treated | covariates), cross-fitted and calibrated where asked.

With R > 1 splits of the units, each split gives its own scores, all out of fold: a unit's score comes
from a model that has not seen it (Chernozhukov et al., Econometrics Journal 2018). Calibration maps the
out-of-fold scores of the other folds to observed rates: Platt's line in log-odds or isotonic steps
(van der Laan, Carone and Luedtke 2024 on why inverse weights want it).

Shape: N units, P terms, R splits, Q coefficients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import logit

from muma.errors import DataError
from muma.evaluation.causal.logistic import LogisticFit, fit_logistic
from muma.evaluation.causal.specification import Basis
from muma.rng import derive

Calibration = Literal["none", "platt", "isotonic"]
_EDGE = 1e-9


class Classifier(Protocol):
    """A model handed in, such as scikit-learn's `HistGradientBoostingClassifier()`."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> object:
        """Learn from rows."""
        ...

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities of 0 and 1, [N, 2]."""
        ...


MakeClassifier = Callable[[], Classifier]
"""Returns a fresh classifier each time."""


@dataclass(frozen=True)
class Propensity:
    """Scores of every unit.

    Attributes:
        score_RN: P(treated), in (0, 1), float64 [R, N].
        fold_RN: fold in which each unit was held out, int64 [R, N]; all 0 without cross-fitting.
        logistic: the fit, where one logistic model gave all scores; None otherwise.
        x_NQ: its standardised terms; None otherwise.
    """

    score_RN: np.ndarray
    fold_RN: np.ndarray
    logistic: LogisticFit | None = None
    x_NQ: np.ndarray | None = None

    @property
    def score_N(self) -> np.ndarray:
        """Median over the splits, float64 [N]."""
        return np.median(self.score_RN, axis=0)


def fit_propensity(
    treated_N: np.ndarray,
    terms: Basis,
    *,
    folds: int = 1,
    repeats: int = 1,
    calibration: Calibration = "none",
    l2: float = 0.0,
    seed: int = 0,
    classifier: MakeClassifier | None = None,
    start_Q: np.ndarray | None = None,
) -> Propensity:
    """Fit the propensity model on every split.

    Args:
        treated_N: who was treated.
        terms: the worked-out specification; a classifier is given the same columns.
        folds: 1 scores the units the model was fitted on; 2 or more cross-fits.
        repeats: splits R, each with folds of its own; only with `folds` > 1.
        calibration: how out-of-fold scores are mapped to rates; needs `folds` > 1.
        l2: ridge penalty of the logistic model, see `fit_logistic`.
        seed: of the splits.
        classifier: makes another model than the logistic one.
        start_Q: where the logistic model starts, if known.

    Raises:
        DataError: a group has fewer units than folds, the groups do not overlap, or the classifier's
            answer is not a probability.
    """
    if folds == 1:
        if classifier is not None:
            score_N = _classified(classifier, terms.value_NP, treated_N, terms.value_NP)
            return Propensity(score_N[None], np.zeros((1, len(score_N)), np.int64))
        fit = fit_logistic(terms.value_NP, treated_N, l2=l2, start_Q=start_Q)
        score_N = np.clip(fit.predict(terms.value_NP), _EDGE, 1 - _EDGE)
        fold_RN = np.zeros((1, len(score_N)), np.int64)
        return Propensity(score_N[None], fold_RN, fit, fit.design(terms.value_NP))
    fold_RN = np.stack([split(treated_N, folds, seed=seed, repeat=r) for r in range(repeats)])
    score_RN = np.empty(fold_RN.shape)
    for fold_N, score_N in zip(fold_RN, score_RN, strict=True):
        for fold in range(folds):
            out_N = fold_N == fold
            seen, asked = terms.value_NP[~out_N], terms.value_NP[out_N]
            if classifier is not None:
                score_N[out_N] = _classified(classifier, seen, treated_N[~out_N], asked)
            else:
                score_N[out_N] = fit_logistic(seen, treated_N[~out_N], l2=l2).predict(asked)
        score_N[:] = np.clip(score_N, _EDGE, 1 - _EDGE)
        if calibration != "none":
            score_N[:] = calibrated(score_N, treated_N, fold_N, how=calibration)
    return Propensity(score_RN, fold_RN)


def split(treated_N: np.ndarray, folds: int, *, seed: int, repeat: int = 0) -> np.ndarray:
    """Fold of each unit, int64 [N]; each fold has its share of both groups.

    Raises:
        DataError: a group has fewer units than folds.
    """
    rng = derive(seed, "folds", repeat)
    fold_N = np.empty(len(treated_N), np.int64)
    for group in (False, True):
        rows = np.flatnonzero(treated_N == group)
        if len(rows) < folds:
            raise DataError(
                f"{folds} folds need as many units in each group; one has {len(rows)}: lower folds"
            )
        fold_N[rng.permutation(rows)] = np.arange(len(rows)) % folds
    return fold_N


def calibrated(
    score_N: np.ndarray, treated_N: np.ndarray, fold_N: np.ndarray, *, how: Calibration
) -> np.ndarray:
    """Scores mapped to rates; the map of a fold is learned on the other folds' scores.

    Isotonic steps of 0 or 1 are kept 1 / (2 n) away from the ends, n the rows learned from.
    """
    mapped_N = np.empty(len(score_N))
    for fold in np.unique(fold_N):
        out_N = fold_N == fold
        seen_N, label_N = score_N[~out_N], treated_N[~out_N].astype(np.float64)
        if how == "platt":
            fit = fit_logistic(logit(seen_N)[:, None], label_N, l2=1e-6)
            mapped_N[out_N] = fit.predict(logit(score_N[out_N])[:, None])
            continue
        value_U, place_N = np.unique(seen_N, return_inverse=True)
        count_U = np.bincount(place_N)
        rate_U = np.bincount(place_N, weights=label_N) / count_U
        step_U = isotonic_regression(rate_U, weights=count_U.astype(np.float64)).x
        edge = 0.5 / len(seen_N)
        mapped_N[out_N] = np.clip(np.interp(score_N[out_N], value_U, step_U), edge, 1 - edge)
    return np.clip(mapped_N, _EDGE, 1 - _EDGE)


def _classified(
    make: MakeClassifier, seen_NP: np.ndarray, label_N: np.ndarray, asked_NP: np.ndarray
) -> np.ndarray:
    model = make()
    model.fit(seen_NP, label_N.astype(np.int64))
    answer = np.asarray(model.predict_proba(asked_NP), np.float64)
    if answer.shape != (len(asked_NP), 2) or not ((answer >= 0) & (answer <= 1)).all():
        raise DataError(
            f"the classifier answered {answer.shape} for {len(asked_NP)} units; it must give "
            "probabilities of 0 and 1, [N, 2]"
        )
    return np.clip(answer[:, 1], _EDGE, 1 - _EDGE)
