"""A recipe's policy on a log of decisions: taught by the earlier answers, judged on the later ones.

    [ope]
    learn = 0.5                        # the default; 0 for a policy that learns nothing

    [ope.columns]                      # only where the log calls them something else
    reward = "click"

    [policy]
    use = "muma.policy.thompson.Thompson"

For every row of the later part the policy is asked for its next slot, given what the log shows in the
slots before. Candidates are all items of the log, or those of the table `ope.scores`.

Shape: B rounds, A actions, N candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import Field
from scipy.special import logit

from muma.app.decision_log import DecisionLog, LogColumns
from muma.app.ope_targets import Target, per_answer, reward_model
from muma.config import Config, build
from muma.errors import ConfigError, DataError
from muma.policy.policy import Context, Feedback, Policy
from muma.progress import track
from muma.ranking.ranker import Slate

LABEL = "reward"
"""Label under which a slate has the model's probability, for `policy.prior.label`."""


class OpeConfig(Config):
    """Section `[ope]` of a recipe.

    Attributes:
        columns: what the columns of the log are called.
        learn: share of the answers, the earliest, that the policy and the model behind its scores learn
            from; the rest judges it. 0 for a policy that learns nothing.
        scores: a table (request_id, item, score) of the candidates of each answer and the scores a ranker
            gave them. None: all items of the log are candidates, and their scores are the log-odds of a
            reward by a logistic model of context and item (the reward itself by a ridge model where
            rewards leave [0, 1]; 0 with `learn = 0`).
    """

    columns: LogColumns = LogColumns()
    learn: float = Field(default=0.5, ge=0, lt=1)
    scores: str | None = None


def from_recipe(log: DecisionLog, policy: Mapping[str, Any], config: OpeConfig) -> Target:
    """The policy's probabilities on the later part of the log.

    Raises:
        ConfigError: there is no such policy, or a part of the log would be empty.
        DataError: the policy cannot learn from such rewards, or cannot judge such candidates.
    """
    built: Policy = build(policy, where="policy", methods=("next_slot", "learn"))
    early, late = _split(log, config.learn)
    size = (len(late.logged), late.logged.n_actions)
    score_BA, chance_BA = np.zeros(size), None
    if early is not None:
        fitted = reward_model(early.logged, interaction=True).fit(early.logged)
        expected_BA, seen_BA = fitted.predict(late.logged), fitted.predict(early.logged)
        if bool(expected_BA.min() > 0 and expected_BA.max() < 1):
            score_BA, chance_BA = logit(expected_BA), expected_BA
        else:
            score_BA = expected_BA
        rows = np.arange(len(early.logged))
        built.learn(
            Feedback(
                early.logged.action_B,
                early.logged.reward_B,
                early.time_B,
                early.logged.propensity_B,
                value_EF=_features(early, rows, seen_BA[rows, early.logged.action_B]),
            )
        )
    there_BA = np.ones(size, bool)
    if config.scores is not None:
        score_BA, there_BA = per_answer(late, config.scores, "score", by_slot=False)
        if not (shown_B := there_BA[np.arange(size[0]), late.logged.action_B]).all():
            row = int(np.argmin(shown_B))
            raise DataError(
                f"{config.scores}: item {late.items[late.logged.action_B[row]]!r}, shown in row {row} of "
                "the judged part, is not among the candidates of its answer; what was shown was one"
            )
    target_BA = _walk(built, late, score_BA, chance_BA, there_BA)
    what = f"taught by the first {config.learn:.0%} of the answers" if early else "untaught"
    return Target(
        str(policy["use"]).rpartition(".")[2], late, target_BA, f"{policy['use']}, {what}"
    )


def _walk(
    policy: Policy,
    log: DecisionLog,
    score_BA: np.ndarray,
    chance_BA: np.ndarray | None,
    there_BA: np.ndarray,
) -> np.ndarray:
    """Ask for every row, given the slots before it; equal questions are asked once."""
    logged, names = log.logged, ("expected_reward", *log.coder.names)
    slot_B = np.zeros(len(logged), np.int64) if logged.position_B is None else logged.position_B
    answer_B = np.arange(len(logged)) if logged.slate_B is None else logged.slate_B
    timed = log.columns.time in log.frame.columns
    alike = (
        logged.context_BF is None
        and not timed
        and bool(there_BA.all() and (score_BA == score_BA[0]).all())
    )
    target_BA = np.zeros(score_BA.shape)
    asked: dict[tuple[int, ...], np.ndarray] = {}
    taken: dict[int, list[int]] = {}
    for row in track(np.lexsort((slot_B, answer_B)).tolist(), label="asking the policy"):
        before = taken.setdefault(int(answer_B[row]), [])
        item_N = np.flatnonzero(there_BA[row])
        p_N = asked.get(tuple(before)) if alike else None
        if p_N is None:
            known_N = (score_BA if chance_BA is None else chance_BA)[row, item_N]
            slate = Slate(
                item_N,
                score_BA[row, item_N],
                _features(log, np.full(len(item_N), row), known_N),
                names,
                {} if chance_BA is None else {LABEL: known_N},
            )
            context = Context(str(answer_B[row]), int(log.time_B[row] if timed else log.time_B[0]))
            places = np.searchsorted(item_N, before).tolist()
            p_N = policy.next_slot(slate, context, places)
            if alike:  # a policy that draws anew for each request answers each one differently
                other = replace(context, request_id=f"{context.request_id} again")
                alike = bool(np.array_equal(p_N, policy.next_slot(slate, other, places)))
            if alike:
                asked[tuple(before)] = p_N
        target_BA[row, item_N] = p_N
        before.append(int(logged.action_B[row]))
    return target_BA


def _split(log: DecisionLog, share: float) -> tuple[DecisionLog | None, DecisionLog]:
    """The earlier answers and the later ones, whole answers each."""
    if share == 0:
        return None, log
    slate_B = log.logged.slate_B
    answer_B = np.arange(len(log.logged)) if slate_B is None else slate_B
    names, first = np.unique(answer_B, return_index=True)
    order = np.argsort(first, kind="stable")
    early = names[order[: round(share * len(names))]]
    early_B = np.isin(answer_B, early)
    if early_B.all() or not early_B.any():
        raise ConfigError(
            f"ope.learn = {share} of {len(names)} answers leaves a part empty; take another share"
        )
    return log.rows(early_B), log.rows(~early_B)


def _features(log: DecisionLog, row_n: np.ndarray, expected_n: np.ndarray) -> np.ndarray:
    """Features of candidates: the model's expectation, and the context of their rows; float32 [n, F]."""
    context_BF = log.logged.context_BF
    parts = [expected_n[:, None], *([] if context_BF is None else [context_BF[row_n]])]
    return np.concatenate(parts, axis=1, dtype=np.float32)
