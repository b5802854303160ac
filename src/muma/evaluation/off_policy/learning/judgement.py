"""The gain of learning, on rounds that no learner saw: cross-fitted, paired, with its interval.

The log is cut into folds by unit. For every fold a policy is learned from the others and gives its
probabilities in this one, and so is the best constant policy: the action with the largest estimated
value. The K policies together are judged by one estimator on the whole log; gains are paired, unit by
unit, so that what the policies share cancels. The value told is that of policies learned from
(K - 1) / K of the log, by a hair worse than the one learned from all.

Shape: B rounds, A actions, U units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muma.errors import ConfigError
from muma.evaluation.off_policy.estimator import Estimator, Terms, view
from muma.evaluation.off_policy.learning.learn import (
    LearnConfig,
    Learned,
    context_of,
    learn_policy,
)
from muma.evaluation.off_policy.logged import Logged, check
from muma.evaluation.off_policy.paired import paired_gain
from muma.evaluation.off_policy.reward_model import RewardModel, cross_fit, deal
from muma.evaluation.result import Result


@dataclass(frozen=True)
class Judgement:
    """What learning is worth.

    Attributes:
        value: of the learned policies.
        logging: of the policy that acted (its mean reward).
        over_logging: learned less logging.
        over_constant: learned less the best constant policies.
        target_BA: the learned policies' probabilities in rounds they did not learn on.
        constant_K: the constant action of each fold.
        learned_K: what each fold learned.
    """

    value: Result
    logging: Result
    over_logging: Result
    over_constant: Result
    target_BA: np.ndarray
    constant_K: np.ndarray
    learned_K: tuple[Learned, ...]


def judge_learning(
    logged: Logged,
    config: LearnConfig = LearnConfig(),
    *,
    estimator: Estimator,
    action_AD: np.ndarray | None = None,
    reward_model: RewardModel | None = None,
    folds: int = 5,
    seed: int,
    level: float = 0.95,
) -> Judgement:
    """Learn in every fold's complement, and judge in the fold.

    Args:
        logged: the past.
        config: of the learner.
        estimator: values the policies, for example `SNIPS()` or `DoublyRobust()`.
        action_AD: features of the actions; one-hot unless given.
        reward_model: its settings, for learning by `"dr"` and for estimators that need one; it is
            fitted anew wherever a part of the log must not be seen.
        folds: K, at least 2.
        seed: of folds and splits.
        level: confidence level in (0, 1).

    Raises:
        ConfigError: `folds` is below 2 or above the units, or a reward model is needed and not there.
        DataError: the log cannot be used.
    """
    check(logged)
    if estimator.needs_model and reward_model is None:
        raise ConfigError(f"estimator {estimator.name} needs a reward model; hand one in")
    fold_B = deal(logged, folds=folds, seed=seed)
    target_BA = np.empty((len(logged), logged.n_actions))
    constant_BA = np.zeros_like(target_BA)
    learned, constants = [], []
    for fold in range(folds):
        held_B = fold_B == fold
        rest = logged.rows(~held_B)
        one = learn_policy(rest, config, action_AD=action_AD, reward_model=reward_model, seed=seed)
        target_BA[held_B] = one.policy.probabilities(context_of(logged.rows(held_B)))
        learned.append(one)
        constants.append(best_constant(rest, caution=config.caution))
        constant_BA[held_B, constants[-1]] = 1.0
    model_BA = None
    if reward_model is not None and estimator.needs_model:
        model_BA = cross_fit(reward_model, logged, folds=folds, seed=seed)
    terms = estimator.terms(view(logged, target_BA, prediction_BA=model_BA))
    plain = estimator.terms(view(logged, constant_BA, prediction_BA=model_BA))
    acted = Terms(np.asarray(logged.reward_B, np.float64))
    units_B = logged.units_B
    return Judgement(
        paired_gain(terms, None, units_B, level=level, label=f"learned policy, {estimator.name}"),
        paired_gain(acted, None, units_B, level=level, label="logging policy"),
        paired_gain(terms, acted, units_B, level=level, label="learned - logging"),
        paired_gain(terms, plain, units_B, level=level, label="learned - best constant"),
        target_BA,
        np.array(constants),
        tuple(learned),
    )


def best_constant(logged: Logged, *, caution: float = 0.0) -> int:
    """The action with the largest of `cautious_values`.

    Example:
        >>> log = Logged(np.array([0, 0, 1, 1]), np.array([1.0, 0, 1, 1]), np.full(4, 0.5), 2)
        >>> best_constant(log)
        1
    """
    return int(np.argmax(cautious_values(logged, caution=caution)))


def cautious_values(logged: Logged, *, caution: float = 0.0) -> np.ndarray:
    """Self-normalised value of each action, less `caution` standard errors; float64 [A].

    With caution, every action is also given `caution` imagined rounds of the least reward in the log, as
    heavy as its own on average: the rewards of one or two lucky rounds do not vary, and their standard
    error alone would call them sure. An action that was never shown is worth -inf.

    Example:
        >>> log = Logged(np.array([0, 0, 1, 1]), np.array([1.0, 0, 1, 1]), np.full(4, 0.5), 3)
        >>> cautious_values(log).tolist()
        [0.5, 1.0, -inf]
    """
    weight_B = 1 / np.asarray(logged.propensity_B, np.float64)
    size, action_B = logged.n_actions, logged.action_B
    least = float(logged.reward_B.min())
    shown_A = np.bincount(action_B, minlength=size)
    total_A = np.bincount(action_B, weights=weight_B, minlength=size)
    each_A = total_A / np.maximum(shown_A, 1)
    safe_A = np.where(total_A > 0, total_A + caution * each_A, 1.0)
    above_A = np.bincount(action_B, weights=weight_B * (logged.reward_B - least), minlength=size)
    value_A = least + above_A / safe_A
    squares_B = (weight_B * (logged.reward_B - value_A[action_B])) ** 2
    square_A = np.bincount(action_B, weights=squares_B, minlength=size)
    square_A += caution * (each_A * (value_A - least)) ** 2
    error_A = np.sqrt(square_A) / safe_A
    return np.where(total_A > 0, value_A - caution * error_A, -np.inf)
