"""What a policy would have earned on a logged past: read, make the target, judge, tell.

Shape: B rounds, A actions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from muma import artifact
from muma.app.decision_log import DecisionLog, LogColumns, read_decisions, read_table
from muma.app.learned_policy import LearnedPolicy
from muma.app.ope_recipe import OpeConfig, from_recipe
from muma.app.ope_targets import BUILT_IN, FOLDS, Target, reward_model, saved, table
from muma.config import load_recipe, parse
from muma.errors import ConfigError, DataError, SchemaError
from muma.evaluation.off_policy.cascade_dr import CascadeDR
from muma.evaluation.off_policy.cascade_model import cross_fit_to_end
from muma.evaluation.off_policy.doubly_robust import DoublyRobust
from muma.evaluation.off_policy.estimator import Estimator, view
from muma.evaluation.off_policy.evaluate import (
    PER_ROUND,
    OffPolicyReport,
    evaluate_policy,
)
from muma.evaluation.off_policy.groups import (
    GroupReport,
    GroupsConfig,
    acted_terms,
    gain_by_group,
)
from muma.evaluation.off_policy.ips import IPS
from muma.evaluation.off_policy.logged import Logged
from muma.evaluation.off_policy.paired import paired_gain
from muma.evaluation.off_policy.reward_model import cross_fit
from muma.evaluation.off_policy.ridge_reward import RidgeReward
from muma.evaluation.off_policy.snips import SNIPS
from muma.evaluation.off_policy.units import units_of
from muma.evaluation.result import Result
from muma.report.groups import draw_groups
from muma.report.off_policy import draw_off_policy

_BINS = 12  # a number with more values than this is cut into quarters


@dataclass(frozen=True)
class PolicyJudgement:
    """What a log says of a policy.

    Where answers have several slots, the estimators of a slot judge the policy on one slot at a time, below
    the slots above as they were logged; what the policy earns when it fills whole answers is in `answers`.

    Attributes:
        target: the policy.
        rounds: estimators of the mean reward of a slot.
        answers: estimators of the summed reward of an answer; None where answers have one slot.
        gain: the policy less the one that acted, by `estimator`, paired; per answer with `answers`.
        estimator: doubly robust; cascade-DR with `answers`; IPS where the policy's probabilities are known
            for shown items only.
        groups: gains by group; None where no column was asked.
    """

    target: Target
    rounds: OffPolicyReport
    answers: OffPolicyReport | None
    gain: Result
    estimator: str
    groups: GroupReport | None

    @property
    def trusted(self) -> bool:
        """Whether nothing speaks against the estimate behind the gain."""
        return (self.answers or self.rounds).row(self.estimator).trusted

    def as_json(self) -> dict[str, Any]:
        """Plain data; what is undefined is None."""
        log = self.target.log
        gain = {k: v if v == v else None for k, v in asdict(self.gain).items()}  # noqa: PLR0124 - NaN
        return {
            "policy": self.target.name,
            "told": self.target.told,
            "log": {
                "rows": len(log.logged),
                "answers": log.answers,
                "items": len(log.items),
                "context": list(log.coder.names),
            },
            "estimator": self.estimator,
            "gain": gain,
            "gain_per": "slot" if self.answers is None else "answer",
            "trusted": self.trusted,
            "rounds": self.rounds.to_json(),
            "answers": None if self.answers is None else self.answers.to_json(),
            "groups": None if self.groups is None else self.groups.to_json(),
        }


def judge_policy(
    log: str | Path,
    policy: str = "",
    *,
    target: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    by: Sequence[str] = (),
    correction: str = "holm",
    overrides: Sequence[str] = (),
    seed: int = 0,
) -> PolicyJudgement:
    """Judge a policy on a log of decisions (`muma.app.decision_log` has its format).

    Args:
        log: a Parquet or CSV file.
        policy: a built-in (`BUILT_IN`), a recipe's path, or the folder of a learned policy.
        target: instead, a table of probabilities (request_id, slot, item, probability).
        columns: what columns of the log are called: name -> column.
        by: columns of groups; a number with many values is cut at its quartiles.
        correction: of p-values of groups: `"holm"` or `"benjamini_hochberg"`.
        overrides: assignments to the recipe, `"policy.temperature=0.2"`.
        seed: of folds.

    Raises:
        ConfigError: neither or both of policy and target are given, or the policy does not exist.
        SourceError, SchemaError: the log cannot be used.
        DataError: it has fewer than 5 users or answers.
    """
    if bool(policy) == (target is not None):
        raise ConfigError("name one of --policy and --target: whose decisions are to be judged?")
    made = _target(log, policy, target, dict(columns or {}), overrides, seed)
    logged = made.log.logged
    _enough(logged)
    model = reward_model(logged, interaction=False)
    prediction_BA = cross_fit(model, logged, folds=FOLDS, seed=seed)
    estimator: Estimator = DoublyRobust() if made.whole else IPS()
    estimators = PER_ROUND if made.whole else (IPS(), SNIPS())
    rounds = evaluate_policy(
        logged, made.target_BA, estimators=estimators, prediction_BA=prediction_BA, seed=seed
    )
    answers = None
    if made.log.ranked and made.whole and logged.position_B is not None:
        # probabilities are given the slots above, so that no estimator of marginal ones is asked
        estimator = CascadeDR()
        prediction_BA = cross_fit_to_end(
            RidgeReward(), logged, made.target_BA, folds=FOLDS, seed=seed
        )
        answers = evaluate_policy(
            logged, made.target_BA, estimators=[estimator], prediction_BA=prediction_BA, seed=seed
        )
    terms = estimator.terms(view(logged, made.target_BA, prediction_BA=prediction_BA))
    acted = acted_terms(logged, terms, per_answer=estimator.per_answer)
    gain = paired_gain(terms, acted, logged.units_B, label="target - logging")
    groups = None
    if by:
        groups = gain_by_group(
            logged,
            made.target_BA,
            {name: group_values(made.log, name) for name in by},
            estimator=estimator,
            prediction_BA=prediction_BA,
            config=parse(GroupsConfig, {"correction": correction}, where="--correction"),
        )
    return PolicyJudgement(made, rounds, answers, gain, estimator.name, groups)


def write_judgement(found: PolicyJudgement, folder: str | Path) -> Path:
    """Write `ope.json`."""
    path = Path(folder) / "ope.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found.as_json(), indent=1, allow_nan=False), encoding="utf-8")
    return path


def draw(found: PolicyJudgement, folder: str | Path, *, name: str) -> list[Path]:
    """Draw `ope.png` and, where groups were asked, `groups.png`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    home = Path(folder)
    home.mkdir(parents=True, exist_ok=True)
    pictures = [home / "ope.png"]
    draw_off_policy(found.rounds.to_json(), pictures[0], title=f"{name}: {found.target.name}")
    if found.groups is not None:
        pictures.append(home / "groups.png")
        draw_groups(found.groups, pictures[1], title=f"{name}: {found.target.name}, by group")
    return pictures


def group_values(log: DecisionLog, column: str) -> np.ndarray:
    """Group of each row; a number with many values is cut at its quartiles.

    Raises:
        SchemaError: there is no such column.
    """
    if column not in log.frame.columns:
        raise SchemaError(
            f"there is no column {column!r} to group by; there are: {', '.join(log.frame.columns)}"
        )
    value = log.frame[column]
    if value.dtype.is_numeric() and value.n_unique() > _BINS:
        number_B = value.cast(pl.Float64).to_numpy()
        known_B = np.isfinite(number_B)
        cuts = np.unique(np.quantile(number_B[known_B], [0.25, 0.5, 0.75])) if known_B.any() else []
        names = [f"up to {cut:.4g}" for cut in cuts] + [f"above {cut:.4g}" for cut in cuts[-1:]]
        if len(cuts):
            place_B = np.searchsorted(cuts, np.where(known_B, number_B, 0.0))
            label = [f"{p + 1}: {names[p]}" for p in place_B.tolist()]
            return np.where(known_B, np.array(label), "")
    return np.array(value.to_list(), dtype=object)


def _target(
    log: str | Path,
    policy: str,
    table_path: str | Path | None,
    columns: dict[str, str],
    overrides: Sequence[str],
    seed: int,
) -> Target:
    names = parse(LogColumns, columns, where="--column")
    if table_path is not None:
        return table(read_decisions(log, names, items=_items(table_path, names)), table_path)
    if policy in BUILT_IN:
        if overrides:
            raise ConfigError(f"--set changes a recipe; {policy!r} is built in")
        read = read_decisions(log, names)
        _enough(read.logged)
        return BUILT_IN[policy](read, seed)
    if artifact.exists(policy):
        learned = LearnedPolicy.load(policy)
        return saved(read_decisions(log, names, items=learned.items), learned, policy)
    if not policy.endswith(".toml"):
        raise ConfigError(
            f"policy {policy!r} is none of {', '.join(BUILT_IN)}, no recipe (.toml) and no folder of a "
            "learned policy"
        )
    recipe = load_recipe(policy, overrides=overrides)
    if not isinstance(recipe.get("policy"), dict):
        raise ConfigError(f"{policy} has no section [policy]; add one with use = '...'")
    config = parse(OpeConfig, recipe.get("ope", {}), where="ope")
    names = parse(LogColumns, {**config.columns.model_dump(), **columns}, where="--column")
    config = config.model_copy(update={"columns": names})
    items = () if config.scores is None else _items(config.scores, names)
    return from_recipe(read_decisions(log, names, items=items), recipe["policy"], config)


def _enough(logged: Logged) -> None:
    """Refuse a log that cannot be cut into folds."""
    if (count := units_of(logged.units_B, len(logged)).count) < FOLDS:
        raise DataError(
            f"the rows that judge are of {count} users or answers; {FOLDS} are needed to be cut into folds, "
            "and some hundreds before anything can be said"
        )


def _items(path: str | Path, columns: LogColumns) -> tuple[str, ...]:
    """Items that a table speaks of."""
    frame = read_table(path)
    if columns.item not in frame.columns:
        raise SchemaError(
            f"{path}: there is no column {columns.item!r}; it has: {', '.join(frame.columns)}"
        )
    return tuple(sorted(frame[columns.item].drop_nulls().cast(pl.String).unique().to_list()))
