"""A frozen design takes the outcome; every look is recorded and told with the answer.

Shape: N units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from muma.errors import DataError
from muma.evaluation.causal.aipw import aipw_effect
from muma.evaluation.causal.design import Design
from muma.evaluation.causal.estimate import Estimate
from muma.evaluation.causal.matched_effect import matched_effect
from muma.evaluation.causal.sensitivity import (
    EValue,
    e_value_of_means,
    e_value_of_risks,
    rosenbaum_gamma,
)
from muma.evaluation.causal.study import Opening, digest
from muma.evaluation.causal.weighted_effect import weighted_effect
from muma.evaluation.causal.weighting import effective_size
from muma.evaluation.result import Result

_ESTIMATORS = {"matching": matched_effect, "weighting": weighted_effect, "aipw": aipw_effect}


@dataclass(frozen=True)
class Effect:
    """An effect, how sure it is, and how it came to be looked at.

    Attributes:
        result: the effect with its interval, in the outcome's unit; `effective_n` sums both groups.
        error: its standard error.
        treated, untreated: mean outcomes of those asked about, if treated and if not.
        naive: difference of the bare group means, with its (Welch) interval.
        design: fingerprint of the design.
        looks: how often an outcome of this study has been opened, this time included.
        blind: the design was made before another design opened an outcome of the study.
        left_out: units asked about that the design could not compare.
        e_value: strength of a hidden cause that would explain the effect away.
        gamma: Rosenbaum's bound at the same level; NaN unless pairs were matched without replacement.
    """

    result: Result
    error: float
    treated: float
    untreated: float
    naive: Result
    design: str
    looks: int
    blind: bool
    left_out: int
    e_value: EValue
    gamma: float

    def as_json(self) -> dict[str, Any]:
        """Plain nested data; what is undefined is None."""
        return _plain({**vars(self), "result": vars(self.result), "naive": vars(self.naive),
                       "e_value": vars(self.e_value)})  # fmt: skip


class FrozenDesign:
    """A design that can no longer change, and may look at outcomes.

    Example:
        >>> from muma.evaluation.causal.design import DesignConfig, make_design
        >>> from muma.evaluation.causal.study import study_of
        >>> rng = np.random.Generator(np.random.PCG64(1))
        >>> x = rng.normal(size=(2000, 1))
        >>> treated = rng.random(2000) < 1 / (1 + np.exp(-x[:, 0]))
        >>> outcome = 2.0 * treated + x[:, 0] + rng.normal(size=2000)
        >>> frozen = make_design(study_of(treated, x), DesignConfig(method="aipw")).freeze()
        >>> effect = frozen.estimate(outcome, name="y")
        >>> abs(effect.result.value - 2) < 0.15 < effect.naive.value - 2, effect.looks, effect.blind
        (True, 1, True)
    """

    def __init__(self, design: Design) -> None:
        self._design = design

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits of all that decides the estimate but the outcome."""
        return self._design.fingerprint

    @property
    def design(self) -> Design:
        """What was frozen."""
        return self._design

    def estimate(self, outcome_N: np.ndarray, *, name: str = "outcome") -> Effect:
        """Open the outcome: the effect by the method that the design fixed.

        Args:
            outcome_N: finite numbers [N], in the order of the study's rows; 0 / 1 for risks.
            name: for the label and the record.

        Raises:
            DataError: the outcome is of another length, or a value is missing or infinite.
        """
        design = self._design
        outcome_N = _checked(outcome_N, len(design.study), name)
        design.study.openings.append(Opening(self.fingerprint, digest(outcome_N), name))
        found = _ESTIMATORS[design.config.method](design, outcome_N)
        treated_N, weight_N = design.study.treated_N, design.weight_N
        effective = sum(effective_size(weight_N[g]) for g in (treated_N, ~treated_N))
        config = design.config
        label = f"{config.estimand} of {name} by {config.method}"
        result = _normal(
            found.value, found.error, config.level, int(np.sum(weight_N > 0)), effective, label
        )
        return Effect(
            result,
            found.error,
            found.treated,
            found.untreated,
            _naive(outcome_N, treated_N, config.level, name),
            self.fingerprint,
            len(design.study.openings),
            design.blind,
            design.left_out,
            _e_value(found, result, outcome_N, treated_N),
            _gamma(design, found),
        )


def _checked(outcome_N: np.ndarray, n_units: int, name: str) -> np.ndarray:
    outcome_N = np.asarray(outcome_N)
    if outcome_N.dtype.kind not in "biuf" or outcome_N.shape != (n_units,):
        raise DataError(
            f"{name} is {outcome_N.dtype} {outcome_N.shape}; it must be {n_units} numbers, in the order of "
            "the study's rows"
        )
    outcome_N = outcome_N.astype(np.float64)
    if not (fine_N := np.isfinite(outcome_N)).all():
        raise DataError(
            f"{name} is not finite in row {np.argmin(fine_N)} ({np.sum(~fine_N)} such values in all); rows "
            "without an outcome must be left out before the design is made, or filled"
        )
    return outcome_N


def _normal(
    value: float, error: float, level: float, n: int, effective_n: float, label: str
) -> Result:
    reach = float(norm.ppf((1 + level) / 2)) * error
    return Result(value, value - reach, value + reach, n, effective_n, label)


def _naive(outcome_N: np.ndarray, treated_N: np.ndarray, level: float, name: str) -> Result:
    one, zero = outcome_N[treated_N], outcome_N[~treated_N]
    variance = float("nan")
    if min(len(one), len(zero)) > 1:
        variance = float(one.var(ddof=1) / len(one) + zero.var(ddof=1) / len(zero))
    n = len(outcome_N)
    value, error = float(one.mean() - zero.mean()), float(np.sqrt(variance))
    return _normal(value, error, level, n, float(n), f"bare difference of {name}")


def _e_value(
    found: Estimate, result: Result, outcome_N: np.ndarray, treated_N: np.ndarray
) -> EValue:
    if set(np.unique(outcome_N).tolist()) <= {0.0, 1.0}:
        return e_value_of_risks(found.treated, found.untreated, result.low, result.high)
    pooled = np.sqrt((outcome_N[treated_N].var() + outcome_N[~treated_N].var()) / 2)
    return e_value_of_means(found.value, result.low, result.high, spread=float(pooled))


def _gamma(design: Design, found: Estimate) -> float:
    config = design.config
    pairs = config.method == "matching" and not config.replacement and config.matches == 1
    if not pairs or found.difference_M is None or not found.difference_M.any():
        return float("nan")
    return rosenbaum_gamma(found.difference_M, alpha=(1 - config.level) / 2)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
