"""Learn a softmax policy from a log; its settings are chosen on rounds that it did not learn on.

    max_W   J(W) / sd(r)  -  l2 / 2 |W|^2        by full-batch L-BFGS from W = 0, the uniform policy

Rewards are measured in their standard deviations, so that one `l2` suits clicks and minutes. A log is
split by unit; every setting learns on one part, and the one whose policy has the largest value less
`caution` standard errors on the other part learns once more from all of it.

Shape: B rounds, A actions, D features of an action, G = 1 + features of the context.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import numpy as np
from pydantic import Field
from scipy.optimize import minimize

from muma.config import Config
from muma.errors import ConfigError, DataError
from muma.evaluation.off_policy.learning.objective import Kind, Objective
from muma.evaluation.off_policy.learning.softmax import LinearSoftmax
from muma.evaluation.off_policy.logged import Logged, check
from muma.evaluation.off_policy.reward_model import RewardModel, cross_fit
from muma.evaluation.off_policy.units import units_of
from muma.progress import track
from muma.rng import derive


class LearnConfig(Config):
    """What is maximised, and which settings are tried; all of them by one another.

    Attributes:
        kind: `"ips"`, `"snips"` or `"dr"`; see `objective`.
        variances: penalties tried, in standard errors of the value.
        clips: largest weights tried.
        l2s: penalties tried on squared weights.
        explore: share of uniform choice mixed in, which keeps the next log useful.
        valid: share of the units on which settings are chosen.
        caution: standard errors subtracted from a value when settings are compared.
        iterations: of L-BFGS at most.
    """

    kind: Kind = "snips"
    variances: tuple[float, ...] = Field(default=(0.0, 1.0), min_length=1)
    clips: tuple[float, ...] = Field(default=(50.0,), min_length=1)
    l2s: tuple[float, ...] = Field(default=(1e-4, 1e-3, 1e-2), min_length=1)
    explore: float = Field(default=0.0, ge=0, lt=1)
    valid: float = Field(default=0.3, gt=0, lt=1)
    caution: float = Field(default=1.0, ge=0)
    iterations: int = Field(default=100, ge=1)


@dataclass(frozen=True)
class Trial:
    """One setting and how its policy did where it did not learn.

    Attributes:
        variance, clip, l2: the setting.
        value: estimated value on the validation part, less `caution` standard errors.
    """

    variance: float
    clip: float
    l2: float
    value: float


@dataclass(frozen=True)
class Learned:
    """A learned policy and how it was chosen.

    Attributes:
        policy: learned from the whole log with the best setting.
        best: that setting.
        trials: all of them, in the order of trying.
    """

    policy: LinearSoftmax
    best: Trial
    trials: tuple[Trial, ...]


def learn_policy(
    logged: Logged,
    config: LearnConfig = LearnConfig(),
    *,
    action_AD: np.ndarray | None = None,
    reward_model: RewardModel | None = None,
    seed: int,
) -> Learned:
    """Learn a policy from what another one logged.

    Args:
        logged: the past; without a context the policy is one distribution for all.
        config: objective and settings.
        action_AD: features of the actions, [A, D]; one-hot unless given, and then the policy leaves
            actions that were never shown to the floor.
        reward_model: settings of the reward model; only `"dr"` asks.
        seed: of the split.

    Raises:
        DataError: the log cannot be used, or has too few units to be split.
        ConfigError: `"dr"` is without a reward model, or the action features do not fit.

    Example:
        >>> rng = derive(1, "doctest")
        >>> action_B = rng.integers(0, 2, 4000)
        >>> reward_B = (rng.random(4000) < np.where(action_B == 1, 0.6, 0.2)).astype(float)
        >>> log = Logged(action_B, reward_B, np.full(4000, 0.5), 2)
        >>> learned = learn_policy(log, LearnConfig(l2s=(1e-3,)), seed=1)
        >>> bool(learned.policy.probabilities(np.zeros((1, 0)))[0, 1] > 0.95)
        True
    """
    check(logged)
    if config.kind == "dr" and reward_model is None:
        raise ConfigError("kind = 'dr' needs a reward model; hand one in, or take 'snips'")
    known_A = None
    if action_AD is None:
        action_AD = np.eye(logged.n_actions)
        known_A = np.bincount(logged.action_B, minlength=logged.n_actions) > 0
    if action_AD.shape[:1] != (logged.n_actions,):
        raise ConfigError(
            f"action features are {action_AD.shape}; the log has {logged.n_actions} actions"
        )
    start_of = partial(_start, action_AD=action_AD, known_A=known_A, explore=config.explore)
    train, valid = _split(logged, config.valid, seed)
    asked = reward_model if config.kind == "dr" else None
    model_BA = None if asked is None else cross_fit(asked, train, seed=seed)
    seen_BA = None if asked is None else asked.fit(train).predict(valid)
    judge = Objective(valid, config.kind, variance=config.caution, model_BA=seen_BA)
    trials = []
    settings = list(product(config.variances, config.clips, config.l2s))
    for variance, clip, l2 in track(settings, label="policy settings"):
        objective = Objective(train, config.kind, variance=variance, clip=clip, model_BA=model_BA)
        start = start_of(train)
        policy = maximise(objective, start, train, l2=l2, iterations=config.iterations)
        value = judge.value(policy.probabilities(context_of(valid)))
        trials.append(Trial(variance, clip, l2, value))
    best = max(trials, key=lambda t: t.value)
    whole_BA = None if asked is None else cross_fit(asked, logged, seed=seed)
    objective = Objective(
        logged, config.kind, variance=best.variance, clip=best.clip, model_BA=whole_BA
    )
    policy = maximise(objective, start_of(logged), logged, l2=best.l2, iterations=config.iterations)
    return Learned(policy, best, tuple(trials))


def maximise(
    objective: Objective, start: LinearSoftmax, logged: Logged, *, l2: float, iterations: int
) -> LinearSoftmax:
    """The policy at the (local) maximum of the objective that `start` leads to."""
    scale = float(np.std(logged.reward_B)) or 1.0
    context_BF = context_of(logged)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight_GD = flat.reshape(start.weight_GD.shape)
        value, slope_GD = climb(objective, replace(start, weight_GD=weight_GD), context_BF)
        penalty = l2 / 2 * float(flat @ flat)
        return penalty - value / scale, l2 * flat - slope_GD.ravel() / scale

    found = minimize(
        loss, start.weight_GD.ravel(), jac=True, method="L-BFGS-B",
        options={"maxiter": iterations},
    )  # fmt: skip
    return replace(start, weight_GD=found.x.reshape(start.weight_GD.shape))


def climb(
    objective: Objective, policy: LinearSoftmax, context_BF: np.ndarray
) -> tuple[float, np.ndarray]:
    """J of a policy and its derivative by the weights W, float64 [G, D]."""
    target_BA = policy.probabilities(context_BF)
    value, slope_BA = objective.gradient(target_BA)
    share = 1 - policy.n_actions * policy.floor
    soft_BA = (target_BA - policy.floor) / share if share > 0 else target_BA
    inner_B = np.einsum("ba,ba->b", soft_BA, slope_BA)
    score_BA = share * soft_BA * (slope_BA - inner_B[:, None])
    return value, policy.inputs(context_BF).T @ score_BA @ policy.action_AD


def context_of(logged: Logged) -> np.ndarray:
    """The log's context; no columns where it has none."""
    return np.zeros((len(logged), 0)) if logged.context_BF is None else logged.context_BF


def _split(logged: Logged, share: float, seed: int) -> tuple[Logged, Logged]:
    units = units_of(logged.units_B, len(logged))
    size = round(share * units.count)
    if not 0 < size < units.count:
        raise DataError(f"{units.count} units cannot be split into {1 - share:.0%} and {share:.0%}")
    held_U = derive(seed, "policy-valid").permutation(units.count) < size
    held_B = held_U if units.place_B is None else held_U[units.place_B]
    return logged.rows(~held_B), logged.rows(held_B)


def _start(
    logged: Logged, *, action_AD: np.ndarray, known_A: np.ndarray | None, explore: float
) -> LinearSoftmax:
    return LinearSoftmax.uniform(
        action_AD=action_AD,
        context_BF=context_of(logged),
        floor=explore / logged.n_actions,
        known_A=known_A,
    )
