"""A policy judged on another's past: every estimator, its interval, and whether to trust it.

Shape: B rounds, A actions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from muma.errors import ConfigError
from muma.evaluation.off_policy.asymptotic import Asymptotic, AsymptoticConfig
from muma.evaluation.off_policy.beta_ips import BetaIPS
from muma.evaluation.off_policy.bootstrap import Bootstrap, BootstrapConfig
from muma.evaluation.off_policy.cascade_dr import CascadeDR
from muma.evaluation.off_policy.cascade_model import cross_fit_to_end
from muma.evaluation.off_policy.clipped_ips import ClippedIPS
from muma.evaluation.off_policy.diagnostics import Diagnostics, diagnose, weight_tail
from muma.evaluation.off_policy.direct_method import DirectMethod
from muma.evaluation.off_policy.doubly_robust import DoublyRobust
from muma.evaluation.off_policy.dr_shrinkage import ShrunkDR
from muma.evaluation.off_policy.estimator import Estimator, Rounds, Terms, view
from muma.evaluation.off_policy.interval import Interval
from muma.evaluation.off_policy.ips import IPS
from muma.evaluation.off_policy.item_position_ips import ItemPositionIPS
from muma.evaluation.off_policy.logged import Logged, check, check_target
from muma.evaluation.off_policy.logistic_reward import LogisticReward
from muma.evaluation.off_policy.report import OffPolicyReport, OffPolicyRow
from muma.evaluation.off_policy.reward_model import RewardModel, cross_fit
from muma.evaluation.off_policy.ridge_reward import RidgeReward
from muma.evaluation.off_policy.self_normalised_dr import SelfNormalisedDR
from muma.evaluation.off_policy.snips import SNIPS
from muma.evaluation.off_policy.switch_dr import SwitchDR
from muma.evaluation.off_policy.units import Units, errors, units_of
from muma.evaluation.off_policy.verdict import (
    VerdictConfig,
    model_reasons,
    overlap_reasons,
    weight_reasons,
)
from muma.evaluation.result import Result

PER_ROUND: tuple[Estimator, ...] = (
    IPS(), SNIPS(), ClippedIPS(), BetaIPS(), DirectMethod(), DoublyRobust(), SelfNormalisedDR(),
    SwitchDR(), ShrunkDR(),
)  # fmt: skip
"""Estimators of the mean reward of a round."""

PER_ANSWER: tuple[Estimator, ...] = (ItemPositionIPS(), CascadeDR())
"""Estimators of the summed reward of an answer with several slots."""


def evaluate_policy(
    logged: Logged,
    target_BA: np.ndarray,
    *,
    estimators: Sequence[Estimator] = PER_ROUND,
    reward_model: RewardModel | None = None,
    prediction_BA: np.ndarray | None = None,
    logging_BA: np.ndarray | None = None,
    interval: Interval | None = None,
    verdict: VerdictConfig = VerdictConfig(),
    folds: int = 3,
    seed: int = 0,
) -> OffPolicyReport:
    """Judge a policy on the past of another.

    Args:
        logged: the past.
        target_BA: probabilities of the policy that is judged, float [B, A], rows sum to 1.
        estimators: all per round (`PER_ROUND`) or all per answer (`PER_ANSWER`).
        reward_model: cross-fitted where an estimator asks; None: logistic for rewards in [0, 1],
            ridge for others and for cascades.
        prediction_BA: predictions of one's own instead, [B, A].
        logging_BA: all probabilities of the policy that acted, to find where it could not go.
        interval: `Bootstrap` by default; `Asymptotic`, `Hall`, `Bernstein`.
        verdict: thresholds of trust.
        folds: of the cross-fitting.
        seed: deals the folds and draws the resamples.

    Raises:
        ConfigError: no estimators, two of one name, or kinds that do not go together.
        DataError: the log, the target or the predictions cannot be used.

    Example:
        >>> rng = np.random.Generator(np.random.PCG64(1))
        >>> action_B = rng.integers(0, 2, 4000)
        >>> reward_B = (rng.random(4000) < np.where(action_B == 1, 0.6, 0.2)).astype(float)
        >>> logged = Logged(action_B, reward_B, np.full(4000, 0.5), n_actions=2)
        >>> report = evaluate_policy(logged, np.tile([0.1, 0.9], (4000, 1)))
        >>> row = report.row("DR")
        >>> row.trusted, row.result.low < 0.56 < row.result.high
        (True, True)
    """
    per_answer = _kind(estimators)
    check(logged)
    check_target(target_BA, logged)
    if prediction_BA is None and any(e.needs_model for e in estimators):
        prediction_BA = _predictions(logged, target_BA, reward_model, per_answer, folds, seed)
    rounds = view(logged, target_BA, prediction_BA=prediction_BA)
    units = units_of(logged.units_B, len(logged))
    terms = {estimator.name: estimator.terms(rounds) for estimator in estimators}
    interval = interval or Bootstrap(BootstrapConfig(seed=seed))
    past = _past_terms(terms, logged, per_answer)
    bounds = interval.bounds(terms, units)
    found = diagnose(rounds, logging_BA=logging_BA)
    rows = []
    for estimator in estimators:
        term = terms[estimator.name]
        result, reasons = _judge(
            estimator, term, bounds[estimator.name], rounds, units, found, verdict
        )
        rows.append(
            OffPolicyRow(result, tuple(reasons), estimator.consistent, term.parameter, term.chosen)
        )
    low, high = Asymptotic(AsymptoticConfig(level=interval.level)).bounds({"logged": past}, units)[
        "logged"
    ]
    return OffPolicyReport(
        rows=tuple(rows),
        diagnostics=found,
        interval=interval.name,
        level=interval.level,
        per_answer=per_answer,
        logged=Result(past.value, low, high, units.count, float(units.count), "logged"),
    )


def estimate(
    estimator: Estimator,
    logged: Logged,
    target_BA: np.ndarray,
    *,
    prediction_BA: np.ndarray | None = None,
    interval: Interval | None = None,
) -> Result:
    """One estimator's value and interval, without diagnostics.

    Raises:
        DataError: the log, the target or the predictions cannot be used.

    Example:
        >>> logged = Logged(np.array([0, 1]), np.array([1.0, 0.0]), np.array([0.5, 0.5]), 2)
        >>> estimate(IPS(), logged, np.array([[0.25, 0.75], [0.25, 0.75]])).value
        0.25
    """
    rounds = view(logged, target_BA, prediction_BA=prediction_BA)
    units = units_of(logged.units_B, len(logged))
    terms = estimator.terms(rounds)
    bounds = (interval or Asymptotic()).bounds({estimator.name: terms}, units)
    return _result(estimator, terms, bounds[estimator.name], units)


def _kind(estimators: Sequence[Estimator]) -> bool:
    names = [estimator.name for estimator in estimators]
    if not names:
        raise ConfigError("no estimators were asked; name at least one, or leave the default")
    if len(set(names)) < len(names):
        raise ConfigError(f"estimators are {', '.join(names)}; each name may stand once")
    kinds = {estimator.per_answer for estimator in estimators}
    if len(kinds) > 1:
        raise ConfigError(
            f"estimators are {', '.join(names)}: some value a round, some an answer; ask twice"
        )
    return kinds.pop()


def _predictions(
    logged: Logged,
    target_BA: np.ndarray,
    model: RewardModel | None,
    per_answer: bool,
    folds: int,
    seed: int,
) -> np.ndarray:
    if per_answer:
        return cross_fit_to_end(model or RidgeReward(), logged, target_BA, folds=folds, seed=seed)
    rates = bool(((logged.reward_B >= 0) & (logged.reward_B <= 1)).all())
    default = LogisticReward() if rates else RidgeReward()
    return cross_fit(model or default, logged, folds=folds, seed=seed)


def _past_terms(terms: dict[str, Terms], logged: Logged, per_answer: bool) -> Terms:
    """What the logging policy earned, per round or per answer as the estimates are."""
    first = next(iter(terms.values()))
    return Terms(logged.reward_B, denominator_B=first.denominator_B if per_answer else None)


def _result(
    estimator: Estimator, terms: Terms, bounds: tuple[float, float], units: Units
) -> Result:
    effective = float(units.count)
    if terms.weight_B is not None:
        weight_U = units.sums(terms.weight_B)
        squares = float(weight_U @ weight_U)
        effective = float(weight_U.sum()) ** 2 / squares if squares > 0 else 0.0
    return Result(terms.value, *bounds, n=units.count, effective_n=effective, label=estimator.name)


def _judge(
    estimator: Estimator,
    terms: Terms,
    bounds: tuple[float, float],
    rounds: Rounds,
    units: Units,
    found: Diagnostics,
    config: VerdictConfig,
) -> tuple[Result, list[str]]:
    result = _result(estimator, terms, bounds, units)
    reasons = overlap_reasons(found, config)
    thin = weight_reasons(found.tail, units.count, config)
    if terms.weight_B is None:
        reasons += model_reasons(*_model_bias(rounds, units), config)
    elif terms.weight_B is rounds.weight_B:
        reasons += thin
    else:
        tail = weight_tail(terms.weight_B, rounds.logged.reward_B, units)
        reasons += weight_reasons(tail, units.count, config)
    if thin and not estimator.consistent:
        unchecked = "the reward model" if terms.residual else "what clipping costs"
        reasons.append(f"the log is too thin to check {unchecked}: {thin[0]}")
    return result, reasons


def _model_bias(rounds: Rounds, units: Units) -> tuple[float, float]:
    """How far the weighted residuals say the direct method is off, also in standard errors."""
    residual = Terms(rounds.weight_B * rounds.residual_B)
    error_U = errors(residual, units)
    spread = float(np.sqrt(error_U @ error_U)) / units.count
    return -residual.value, -residual.value / spread if spread > 0 else 0.0
