"""A design: how the groups are made alike, judged on balance, without any outcome.

    study  = study_of(treatment, covariates, columns)
    design = make_design(study, DesignConfig(estimand="att"))     # or search_design(...)
    design.balance.largest                                        # change the terms until it is small
    effect = design.freeze().estimate(outcome, name="re78")       # then look, once

Nothing before `freeze` accepts an outcome.

Shape: N units, R splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from muma.config import Config
from muma.errors import ConfigError, DataError
from muma.evaluation.causal.balance import BalanceTable, balance
from muma.evaluation.causal.matched_sets import MatchedSets
from muma.evaluation.causal.matching import Scale, match, on_scale
from muma.evaluation.causal.outcome_model import MakeRegressor
from muma.evaluation.causal.overlap import Overlap, overlap
from muma.evaluation.causal.propensity import (
    Calibration,
    MakeClassifier,
    Propensity,
    fit_propensity,
    split,
)
from muma.evaluation.causal.specification import Basis, basis, quoted
from muma.evaluation.causal.study import Study, digest
from muma.evaluation.causal.weighting import Estimand, kept, weights

if TYPE_CHECKING:
    from muma.evaluation.causal.frozen import FrozenDesign

Method = Literal["matching", "weighting", "aipw"]


class DesignConfig(Config):
    """Options of a design, all fixed before an outcome is seen.

    Attributes:
        estimand: the effect on the treated (`att`), on all (`ate`), or on the overlap (`ato`,
            weighting only).
        method: matching on the score; weights by the score (Hajek); or augmented weights with an
            outcome model (AIPW).
        matches: partners of each matched unit.
        caliper: largest distance of a match, in standard deviations of the score on its scale (0.2
            is usual, Austin 2011); None for any.
        replacement: whether a partner may serve several; False needs `att`.
        scale: where distances are measured.
        bias_correction: adjust each match by a linear model of the outcome (Abadie and Imbens 2011).
        trim: leave out scores outside [trim, 1 - trim] (`att`: above 1 - trim).
        clip: scores are moved into [clip, 1 - clip] (`att`: only from above), so that no unit counts
            more than 1 / clip; None
            takes 0.01 with cross-fitting, where a unit may surprise a model that has not seen it,
            and 0 otherwise.
        folds: cross-fitting folds; None takes 5 for AIPW and 1 (none) otherwise.
        repeats: splits to take the median over; needs folds.
        calibration: of out-of-fold scores; needs folds.
        l2: ridge penalty of the logistic model, in rows; None takes 0, and 1 with cross-fitting: a
            rare category may lack a group in some fold, and without a penalty its odds are infinite.
        level: confidence level of the interval.
        seed: of the splits.
    """

    estimand: Estimand = "att"
    method: Method = "matching"
    matches: int = Field(default=1, ge=1)
    caliper: float | None = Field(default=None, gt=0)
    replacement: bool = True
    scale: Scale = "logit"
    bias_correction: bool = False
    trim: float = Field(default=0.0, ge=0, lt=0.5)
    clip: float | None = Field(default=None, ge=0, lt=0.5)
    folds: int | None = Field(default=None, ge=1)
    repeats: int = Field(default=1, ge=1)
    calibration: Calibration = "none"
    l2: float | None = Field(default=None, ge=0)
    level: float = Field(default=0.95, gt=0, lt=1)
    seed: int = 0

    @model_validator(mode="after")
    def _fits_together(self) -> DesignConfig:
        if self.estimand == "ato" and self.method != "weighting":
            raise ValueError("estimand 'ato' is a weighting; set method = 'weighting'")
        if not self.replacement and self.estimand != "att":
            raise ValueError("matching without replacement tells the effect on the treated: 'att'")
        if self.n_folds == 1 and (self.repeats > 1 or self.calibration != "none"):
            raise ValueError("repeats and calibration need cross-fitting; set folds to 5")
        return self

    @property
    def n_folds(self) -> int:
        """Folds in force."""
        return self.folds or (5 if self.method == "aipw" else 1)

    @property
    def penalty(self) -> float:
        """Ridge penalty in force."""
        return float(self.n_folds > 1) if self.l2 is None else self.l2

    @property
    def limit(self) -> float:
        """Clip in force."""
        return (0.01 if self.n_folds > 1 else 0.0) if self.clip is None else self.clip


@dataclass(frozen=True)
class Step:
    """One decision of a search: the term added ('' for the start) and the balance then reached."""

    term: str
    largest: float


@dataclass(frozen=True)
class Design:
    """How the groups are made alike; made by `make_design` or `search_design`.

    Attributes:
        study: the units.
        config: the options.
        terms: the specification, worked out.
        propensity: the scores.
        sets: matched sets of the treated, and for `ate` of the untreated too; empty for weights.
        weight_N: weight of each unit in its group, 0 for those left out, float64 [N].
        balance: standardised differences before and after.
        overlap: who can be compared.
        fingerprint: twelve hexadecimal digits of all that decides the estimate but the outcome.
        blind: when it was made, no outcome of the study had been opened by another design.
        path: the steps of a search; empty if the terms were given.
        regressor: the outcome model of AIPW; None for the linear one.
    """

    study: Study
    config: DesignConfig
    terms: Basis
    propensity: Propensity
    sets: tuple[MatchedSets, ...]
    weight_N: np.ndarray
    balance: BalanceTable
    overlap: Overlap
    fingerprint: str
    blind: bool
    path: tuple[Step, ...] = ()
    regressor: MakeRegressor | None = None

    @property
    def left_out(self) -> int:
        """Units asked about (the treated for `att`, all otherwise) that have no weight."""
        asked_N = self.study.treated_N if self.config.estimand == "att" else True
        return int(np.sum(asked_N & (self.weight_N == 0)))

    def freeze(self) -> FrozenDesign:
        """End designing; what is returned takes the outcome."""
        from muma.evaluation.causal.frozen import FrozenDesign  # noqa: PLC0415 - it knows estimators

        return FrozenDesign(self)


def make_design(
    study: Study,
    config: DesignConfig | None = None,
    terms: Sequence[str] | None = None,
    *,
    classifier: MakeClassifier | None = None,
    regressor: MakeRegressor | None = None,
    known_N: np.ndarray | None = None,
) -> Design:
    """Fit the scores, match or weigh, and tell balance and overlap.

    Args:
        study: treatment and covariates.
        config: the options.
        terms: the specification, see `specification`; every covariate by itself by default.
        classifier: makes the propensity model, for example
            `lambda: HistGradientBoostingClassifier()`; must be cross-fitted. None: logistic.
        regressor: makes AIPW's outcome model; None: linear in the terms.
        known_N: propensities that were logged rather than fitted, in (0, 1).

    Raises:
        ConfigError: a term is wrong, or a classifier is not cross-fitted.
        DataError: there is no overlap, or nobody is left after trimming and caliper.
    """
    config = config or DesignConfig()
    names = tuple(terms) if terms is not None else tuple(map(quoted, study.columns))
    worked = basis(study, names)
    if classifier is not None and config.n_folds == 1:
        raise ConfigError(
            "a flexible classifier learns its own rows by heart; set folds to 5 so that every score is "
            "out of fold"
        )
    scores = (
        fit_propensity(
            study.treated_N, worked, folds=config.n_folds, repeats=config.repeats,
            calibration=config.calibration, l2=config.penalty, seed=config.seed, classifier=classifier,
        )
        if known_N is None else _known(study, known_N, config)
    )  # fmt: skip
    scores = clipped(scores, config)
    sets, weight_N = weigh(study, scores, config)
    mark = digest(
        study.fingerprint, config.model_dump_json(), *worked.terms, _described(classifier),
        _described(regressor), *(() if known_N is None else (np.asarray(known_N, np.float64),)),
    )  # fmt: skip
    return Design(
        study, config, worked, scores, sets, weight_N,
        balance(study, weight_N, estimand=config.estimand),
        overlap(scores.score_N, study.treated_N, weight_N, config.estimand),
        mark, all(look.design == mark for look in study.openings), regressor=regressor,
    )  # fmt: skip


def clipped(scores: Propensity, config: DesignConfig) -> Propensity:
    """Scores moved into the limits of the config.

    For `att` only from above: there a small score is a small weight, and raising it would count people
    who resemble no treated one.
    """
    if config.limit == 0:
        return scores
    lowest = 0.0 if config.estimand == "att" else config.limit
    score_RN = np.clip(scores.score_RN, lowest, 1 - config.limit)
    return replace(scores, score_RN=score_RN)


def weigh(
    study: Study, scores: Propensity, config: DesignConfig
) -> tuple[tuple[MatchedSets, ...], np.ndarray]:
    """Matched sets (none for weights) and the weight of each unit.

    Raises:
        DataError: nobody is left in a group.
    """
    score_N, treated_N = scores.score_N, study.treated_N
    keep_N = kept(score_N, config.estimand, config.trim)
    _refuse_empty(treated_N, keep_N.astype(np.float64), "trimming")
    if config.method != "matching":
        weight_RN = [weights(one_N, treated_N, config.estimand) for one_N in scores.score_RN]
        return (), np.where(keep_N, np.mean(weight_RN, axis=0), 0.0)
    place_N, rows = on_scale(score_N, config.scale), np.flatnonzero(keep_N)
    reach = None if config.caliper is None else config.caliper * float(place_N.std()) or None
    directions = (treated_N,) if config.estimand == "att" else (treated_N, ~treated_N)
    sets, weight_N = [], np.zeros(len(study))
    for seeks_N in directions:
        one = match(
            place_N[rows], seeks_N[rows], matches=config.matches, caliper=reach,
            replacement=config.replacement,
        )  # fmt: skip
        one = replace(
            one, unit_M=rows[one.unit_M], order_C=rows[one.order_C], unmatched=rows[one.unmatched]
        )
        weight_N[one.unit_M] += 1.0
        weight_N += one.use(len(study))
        sets.append(one)
    _refuse_empty(treated_N, weight_N, "the caliper")
    return tuple(sets), weight_N


def _refuse_empty(treated_N: np.ndarray, weight_N: np.ndarray, what: str) -> None:
    for group_N, name in ((treated_N, "treated"), (~treated_N, "untreated")):
        if not weight_N[group_N].any():
            raise DataError(
                f"no overlap: {what} leaves none of {group_N.sum()} {name} units; loosen it or leave out "
                "terms that the treatment decides"
            )


def _known(study: Study, known_N: np.ndarray, config: DesignConfig) -> Propensity:
    known_N = np.asarray(known_N, np.float64)
    if known_N.shape != (len(study),) or not ((known_N > 0) & (known_N < 1)).all():
        raise DataError(
            f"known propensities are {known_N.shape} for {len(study)} units; each must lie strictly "
            "between 0 and 1"
        )
    folds = [
        np.zeros(len(study), np.int64)
        if config.n_folds == 1
        else split(study.treated_N, config.n_folds, seed=config.seed, repeat=repeat)
        for repeat in range(config.repeats)
    ]
    return Propensity(np.tile(known_N, (config.repeats, 1)), np.stack(folds))


def _described(make: MakeClassifier | MakeRegressor | None) -> str:
    """Name and parameters of a model handed in, without an address in memory."""
    if make is None:
        return "own"
    model = make()
    asked: Any = getattr(model, "get_params", dict)
    return f"{type(model).__module__}.{type(model).__qualname__}{sorted(asked().items())!r}"
