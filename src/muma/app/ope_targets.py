"""Whom to judge: the probabilities that another policy would have given to every item of every row.

Policies that learn from the log are never judged on what they learned from: `greedy`, `best-constant` and
`learned` are made fold by fold from the other folds. (A policy of a recipe: see `ope_recipe`.) Where answers
have several slots, each gives its chances to what the slots above have left.

Shape: B rounds, A actions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from muma.app.decision_log import DecisionLog, read_table
from muma.app.learned_policy import LearnedPolicy
from muma.app.ope_slots import first_choice, left_over, shown_above
from muma.errors import DataError, SchemaError
from muma.evaluation.off_policy.estimator import Estimator
from muma.evaluation.off_policy.learning.judgement import cautious_values, judge_learning
from muma.evaluation.off_policy.learning.learn import LearnConfig, learn_policy
from muma.evaluation.off_policy.logged import Logged
from muma.evaluation.off_policy.logistic_reward import LogisticReward, LogisticRewardConfig
from muma.evaluation.off_policy.reward_model import RewardModel, cross_fit, deal
from muma.evaluation.off_policy.ridge_reward import RidgeReward, RidgeRewardConfig
from muma.evaluation.off_policy.snips import SNIPS

FOLDS = 5


@dataclass(frozen=True)
class Target:
    """A policy's probabilities.

    Attributes:
        name: what was asked.
        log: the rows that judge it.
        target_BA: its probabilities.
        told: what a reader should know of how they were made.
        whole: whether they are known for every item; else only for the one that was shown.
        save: writes the policy to a folder; None where there is nothing to save.
    """

    name: str
    log: DecisionLog
    target_BA: np.ndarray
    told: str
    whole: bool = True
    save: Callable[[str | Path], None] | None = None


def uniform(log: DecisionLog, seed: int) -> Target:  # noqa: ARG001 - all built-ins are called alike
    """Every item that is left with the same chance."""
    size = (len(log.logged), log.logged.n_actions)
    told = f"each of the {size[1]:,} items with the same chance"
    target_BA = left_over(np.full(size, 1 / size[1]), shown_above(log.logged))
    return Target("uniform", log, target_BA, told)


def logging(log: DecisionLog, seed: int) -> Target:  # noqa: ARG001 - all built-ins are called alike
    """The policy that acted: all weights are 1; what it gave to other items was not logged."""
    logged = log.logged
    if logged.n_actions == 1:
        return Target("logging", log, np.ones((len(logged), 1)), "the policy that acted")
    rest_B = (1 - logged.propensity_B) / (logged.n_actions - 1)
    target_BA = np.repeat(rest_B[:, None], logged.n_actions, axis=1)
    target_BA[np.arange(len(logged)), logged.action_B] = logged.propensity_B
    return Target("logging", log, target_BA, "the policy that acted", whole=False)


def constant(log: DecisionLog, seed: int) -> Target:
    """In every fold the item with the best estimated value, cautiously, in the other folds."""
    fold_B = deal(log.logged, folds=FOLDS, seed=seed)
    value_BA = np.zeros((len(log.logged), log.logged.n_actions))
    chosen = []
    for fold in range(FOLDS):
        value_A = cautious_values(log.logged.rows(fold_B != fold), caution=1.0)
        value_BA[fold_B == fold] = np.maximum(value_A, np.finfo(float).min)  # never shown: last
        chosen.append(log.items[int(value_A.argmax())])
    above_BA = shown_above(log.logged)
    below = ", and the next best in lower slots" if above_BA.any() else ""
    told = f"one item always, chosen in {FOLDS} folds: {', '.join(dict.fromkeys(chosen))}{below}"
    return Target("best-constant", log, first_choice(value_BA, above_BA), told)


def greedy(log: DecisionLog, seed: int) -> Target:
    """In every row the item with the largest predicted reward, by a model of the other folds."""
    model = reward_model(log.logged, interaction=True)
    prediction_BA = cross_fit(model, log.logged, folds=FOLDS, seed=seed)
    target_BA = first_choice(prediction_BA, shown_above(log.logged))
    return Target("greedy", log, target_BA, f"largest predicted reward, by models of {FOLDS} folds")


def learned(log: DecisionLog, seed: int) -> Target:
    """A softmax policy learned in every fold from the others; saved, it is learned from all."""
    estimator: Estimator = SNIPS()
    found = judge_learning(log.logged, LearnConfig(), estimator=estimator, folds=FOLDS, seed=seed)

    def save(folder: str | Path) -> None:
        softmax = learn_policy(log.logged, LearnConfig(), seed=seed).policy
        LearnedPolicy(softmax, log.items, log.coder).save(folder)

    told = f"softmax in context and item, learned by self-normalised weights in {FOLDS} folds"
    target_BA = left_over(found.target_BA, shown_above(log.logged))
    return Target("learned", log, target_BA, told, save=save)


BUILT_IN: Mapping[str, Callable[[DecisionLog, int], Target]] = {
    "uniform": uniform,
    "logging": logging,
    "best-constant": constant,
    "greedy": greedy,
    "learned": learned,
}
"""Name -> how its probabilities are made."""


def saved(log: DecisionLog, policy: LearnedPolicy, name: str) -> Target:
    """A policy that was learned before; items that it does not know get no chance.

    Args:
        log: read with `items = policy.items`; one that the policy did not learn on, or its value is
            flattered.
        policy: the policy.
        name: what to call it.

    Raises:
        SchemaError: the log lacks a context column.
    """
    target_BA = np.zeros((len(log.logged), log.logged.n_actions))
    place = {one: number for number, one in enumerate(log.items)}
    known_A = [place[one] for one in policy.items]
    target_BA[:, known_A] = policy.softmax.probabilities(policy.coder.encode(log.frame))
    target_BA = left_over(target_BA, shown_above(log.logged))
    return Target(name, log, target_BA, "learned before; flattered if it learned on this log")


def table(log: DecisionLog, path: str | Path) -> Target:
    """Probabilities from a table: request_id, slot (if the log has one), item, probability.

    Raises:
        SchemaError: a column is missing.
        DataError: a row of the log has no probabilities, or a probability's item is unknown to the log.
    """
    target_BA, _ = per_answer(log, path, "probability", by_slot=True)
    return Target(str(path), log, target_BA, "probabilities from a table")


def per_answer(
    log: DecisionLog, path: str | Path, value: str, *, by_slot: bool
) -> tuple[np.ndarray, np.ndarray]:
    """A table's values laid out by rows of the log: float64 [B, A], and where there were any, boolean.

    Raises:
        SchemaError: a column is missing, or values are no numbers.
        DataError: a row of the log has no values, an item is unknown to the log, or stands there twice.
    """
    frame, names = read_table(path), log.columns
    keys = [
        names.request_id,
        *([names.slot] if by_slot and log.logged.position_B is not None else []),
    ]
    for name in (*keys, names.item, value):
        if name not in frame.columns:
            raise SchemaError(
                f"{path}: there is no column {name!r}; it has: {', '.join(frame.columns)}"
            )
    if names.request_id not in log.frame.columns:
        raise SchemaError(f"the log has no column {names.request_id!r} to find its rows in {path}")
    if not frame[value].dtype.is_numeric():
        raise SchemaError(f"{path}: column {value!r} is {frame[value].dtype}; it must be numbers")
    text = [pl.col(name).cast(pl.String) for name in keys]
    rows = log.frame.select(text).with_row_index("row")
    cells = frame.select(*text, pl.col(names.item).cast(pl.String), pl.col(value).cast(pl.Float64))
    twice_n = cells.select(*keys, names.item).is_duplicated()
    if twice_n.any():
        row = int(twice_n.arg_max() or 0)
        raise DataError(
            f"{path}: {', '.join((*keys, names.item))} = {cells.row(row)[:-1]} stands there more than once; "
            "give each item one row"
        )
    joined = rows.join(cells, on=keys, how="left")
    lacking = joined.filter(pl.col(names.item).is_null())
    if len(lacking):
        raise DataError(
            f"{path} says nothing of {', '.join(keys)} = {lacking.row(0)[1:]} of the log"
        )
    place = {name: number for number, name in enumerate(log.items)}
    item = joined[names.item].to_list()
    if unknown := next((name for name in item if name not in place), None):
        raise DataError(
            f"{path}: item {unknown!r} is not among the log's items; read the log with items = those of "
            "the table"
        )
    at = joined["row"].to_numpy(), np.array([place[name] for name in item])
    value_BA, there_BA = (np.zeros((len(rows), len(log.items)), kind) for kind in (float, bool))
    value_BA[at] = joined[value].to_numpy()
    there_BA[at] = True
    return value_BA, there_BA


def reward_model(logged: Logged, *, interaction: bool) -> RewardModel:
    """Logistic for rewards in [0, 1], else ridge."""
    if bool(((logged.reward_B >= 0) & (logged.reward_B <= 1)).all()):
        return LogisticReward(LogisticRewardConfig(interaction=interaction))
    return RidgeReward(RidgeRewardConfig(interaction=interaction))
