"""Search for a specification by balance alone.

The rule: begin with every covariate by itself. While the largest |standardised mean difference| over the
balance terms is not below the threshold, add the candidate whose addition makes it smallest. Candidates are
zeros, logarithms, squares and products, in that order; of equals the first is taken. End when `patience`
additions in a row have brought nothing below the smallest so far, and keep the terms up to there. The path is
told. No outcome exists here, so the rule cannot prefer an effect (compare Dehejia and Wahba, Review of
Economics and Statistics 2002, appendix).

Shape: N units, T balance terms, P terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Literal

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.errors import DataError
from muma.evaluation.causal.balance import balance_terms, largest_difference, scales
from muma.evaluation.causal.design import Design, DesignConfig, Step, clipped, make_design, weigh
from muma.evaluation.causal.outcome_model import MakeRegressor
from muma.evaluation.causal.propensity import fit_propensity
from muma.evaluation.causal.specification import basis_of, column, quoted
from muma.evaluation.causal.study import Study
from muma.progress import track

Kind = Literal["zeros", "logs", "squares", "products"]


class SearchConfig(Config):
    """Options of a search.

    Attributes:
        threshold: the largest |standardised mean difference| allowed.
        kinds: which candidates are tried.
        most: terms added at most.
        patience: additions in a row that may fail to lower the largest difference.
    """

    threshold: float = Field(default=0.1, gt=0)
    kinds: tuple[Kind, ...] = ("zeros", "logs", "squares", "products")
    most: int = Field(default=20, ge=0)
    patience: int = Field(default=3, ge=1)


def search_design(
    study: Study,
    config: DesignConfig | None = None,
    search: SearchConfig | None = None,
    *,
    start: Sequence[str] | None = None,
    regressor: MakeRegressor | None = None,
) -> Design:
    """Make the design that the rule above ends with.

    Args:
        study: treatment and covariates.
        config: the design's options.
        search: the rule's options.
        start: terms to begin with; every covariate by itself by default.
        regressor: AIPW's outcome model, see `make_design`.

    Returns:
        A design whose `balance.largest` may still be above the threshold; look at it.

    Raises:
        DataError: the groups do not overlap even with the terms of the start.
    """
    config, search = config or DesignConfig(), search or SearchConfig()
    terms = list(start) if start is not None else [quoted(name) for name in study.columns]
    judge = _Judge(study, config)
    path, best = [Step("", judge.largest(terms))], 0
    rest = [term for term in candidates(study, search.kinds) if term not in terms]
    while path[best].largest >= search.threshold and rest and len(path) <= search.most:
        tried = [
            judge.largest_or_worst([*terms, term])
            for term in track(rest, label=f"terms, {len(path)} at {path[-1].largest:.3f}")
        ]
        place = int(np.argmin(tried))
        if not np.isfinite(tried[place]):
            break
        terms.append(rest.pop(place))
        path.append(Step(terms[-1], tried[place]))
        if path[-1].largest < path[best].largest:
            best = len(path) - 1
        if len(path) - 1 - best >= search.patience:
            break
    terms = terms[: len(terms) - (len(path) - 1 - best)]
    made = make_design(study, config, terms, regressor=regressor)
    return replace(made, path=tuple(path[: best + 1]))


def candidates(study: Study, kinds: Sequence[Kind]) -> list[str]:
    """Terms that a search may add, in order.

    Example:
        >>> from muma.evaluation.causal.study import study_of
        >>> x = np.array([[0.0, 1.0], [0.0, 0.0], [2.0, 1.0], [3.0, 0.0]])
        >>> candidates(study_of(np.array([0, 1, 0, 1]), x, ["pay", "old"]), ["zeros", "products"])
        ['pay=0', 'pay:old', 'old:pay=0']
    """
    many = {
        quoted(name): value_N
        for name, value_N in zip(study.columns, study.covariate_NF.T, strict=True)
        if len(np.unique(value_N)) > 2
    }
    names = [quoted(name) for name in study.columns]
    zeros = [term for term in balance_terms(study) if term not in names]
    found = {
        "zeros": zeros,
        "logs": [f"log1p({term})" for term, value_N in many.items() if value_N.min() >= 0],
        "squares": [f"{term}^2" for term in many],
        "products": [f"{a}:{b}" for a, b in combinations([*names, *zeros], 2) if b != f"{a}=0"],
    }
    return [term for kind in kinds for term in found[kind]]


class _Judge:
    """Tells the largest standardised difference of a specification; nothing but balance is made."""

    def __init__(self, study: Study, config: DesignConfig) -> None:
        self._study, self._config = study, config
        terms = balance_terms(study)
        self._value_NT = np.stack([column(study, term) for term in terms], axis=1)
        self._scale_T = scales(self._value_NT, study.treated_N, config.estimand)
        self._columns: dict[str, np.ndarray] = {}
        self._near_Q, self._most = np.zeros(0), 0

    def largest(self, terms: Sequence[str]) -> float:
        config, study = self._config, self._study
        for term in terms:
            if term not in self._columns:
                self._columns[term] = column(study, term)
        worked = basis_of(terms, np.stack([self._columns[term] for term in terms], axis=1))
        start_Q = np.zeros(len(worked.terms) + 1)
        near_Q = self._near_Q[: len(start_Q)]
        start_Q[: len(near_Q)] = near_Q  # new terms stand last, so the old coefficients are near
        scores = fit_propensity(
            study.treated_N, worked, folds=config.n_folds, repeats=config.repeats,
            calibration=config.calibration, l2=config.penalty, seed=config.seed, start_Q=start_Q,
        )  # fmt: skip
        if scores.logistic is not None and len(terms) > self._most:
            self._most, self._near_Q = len(terms), scores.logistic.scaled_Q
        _, weight_N = weigh(study, clipped(scores, config), config)
        return float(
            largest_difference(self._value_NT, study.treated_N, weight_N, self._scale_T).max()
        )

    def largest_or_worst(self, terms: Sequence[str]) -> float:
        try:
            return self.largest(terms)
        except DataError:  # this term has no value somewhere, or tells the groups apart
            return float("inf")
