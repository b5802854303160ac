"""Whom does a policy help, and whom does it hurt: its gain over the policy that acted, by user group.

    gain_g = V_g(target) - mean reward of group g,        t = gain_g / se_g,  units clustered

P-values are corrected for all groups asked about. A group whose weights leave too little to judge by is
undecidable: it is told so, has no p-value and does not count as a test. That one group is separable
from 0 and another is not does not say that they differ; `heterogeneity` tests that, by Wald's statistic

    W = (C v)' (C S C')^-1 (C v) ~ chi2(G - 1)

with the groups' gains v, their covariance S over units, and C the differences from the first group.

Shape: B rounds, A actions, G groups of a column, U units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field
from scipy.special import chdtrc, stdtr

from muma.config import Config
from muma.errors import DataError
from muma.evaluation.multiplicity import benjamini_hochberg
from muma.evaluation.off_policy.diagnostics import weight_tail
from muma.evaluation.off_policy.doubly_robust import DoublyRobust
from muma.evaluation.off_policy.estimator import Estimator, Terms, view
from muma.evaluation.off_policy.logged import Logged
from muma.evaluation.off_policy.paired import paired_errors, paired_gain, standard_error
from muma.evaluation.off_policy.units import units_of
from muma.evaluation.off_policy.verdict import VerdictConfig, weight_reasons
from muma.evaluation.result import Result
from muma.evaluation.significance import holm

Effect = Literal["helps", "hurts", "not separable", "undecidable"]
MISSING = "(missing)"
_MOST = 50  # groups of a column


class GroupsConfig(Config):
    """When a group can be judged, and when it is told to differ from 0.

    Attributes:
        level: confidence level of each interval (not corrected for many).
        q: corrected p-values below it are told.
        correction: `"holm"` (no false word at all, with chance 1 - q) or `"benjamini_hochberg"` (a
            share of q of the words may be false).
        least_units: fewest units of a group.
        verdict: least effective sample of a group, and how its weights may be spread.
    """

    level: float = Field(default=0.95, gt=0, lt=1)
    q: float = Field(default=0.05, gt=0, lt=1)
    correction: Literal["holm", "benjamini_hochberg"] = "holm"
    least_units: int = Field(default=30, ge=2)
    verdict: VerdictConfig = VerdictConfig()


@dataclass(frozen=True)
class GroupGain:
    """One group.

    Attributes:
        column, group: its name.
        rounds: rounds of the log.
        gain: target less logging, in units of the reward; `n` units, `effective_n` by the weights.
        logging: mean reward of the policy that acted; per answer where the estimator values answers.
        p: two-sided, of a gain of 0; NaN where undecidable.
        p_holm, p_bh: the same, corrected for all groups (Holm; Benjamini and Hochberg).
        effect: the word on it, by the correction of the config.
        reasons: why it cannot be decided.
    """

    column: str
    group: str
    rounds: int
    gain: Result
    logging: float
    p: float
    p_holm: float
    p_bh: float
    effect: Effect
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class GroupReport:
    """All groups.

    Attributes:
        rows: one a group, columns in the order asked, groups by name.
        overall: gain over the whole log.
        heterogeneity: column -> p-value of "its groups gain alike", corrected for the columns (Holm);
            NaN with fewer than two groups that can be decided.
        estimator: which one.
        config: thresholds in use.
    """

    rows: tuple[GroupGain, ...]
    overall: Result
    heterogeneity: Mapping[str, float]
    estimator: str
    config: GroupsConfig

    def to_json(self) -> dict[str, Any]:
        """Plain data; NaN becomes None."""
        data = {
            "estimator": self.estimator,
            "correction": self.config.correction,
            "overall": asdict(self.overall),
            "heterogeneity": dict(self.heterogeneity),
            "groups": [asdict(row) for row in self.rows],
        }
        return _without_nan(data)


def gain_by_group(
    logged: Logged,
    target_BA: np.ndarray,
    groups: Mapping[str, np.ndarray],
    *,
    estimator: Estimator | None = None,
    prediction_BA: np.ndarray | None = None,
    config: GroupsConfig = GroupsConfig(),
) -> GroupReport:
    """Gain of the target policy over the logging policy, by group.

    Args:
        logged: the past.
        target_BA: probabilities of the policy that is judged, [B, A].
        groups: column -> group of each round, [B]; None, NaN and "" are a group of their own. Groups
            must be known before the decision: what came of it selects on the outcome. For an estimator
            of whole answers, an answer belongs to one group.
        estimator: of the target's value; doubly robust unless given.
        prediction_BA: cross-fitted predictions (`cross_fit`), for estimators that need them.
        config: thresholds and correction.

    Raises:
        DataError: the log or the target cannot be used, a column has another length, more than 50
            groups, or groups that cut through an answer whose whole is valued.

    Example:
        >>> rng = np.random.Generator(np.random.PCG64(1))
        >>> action_B, old_B = rng.integers(0, 2, 4000), rng.integers(0, 2, 4000)
        >>> reward_B = (rng.random(4000) < np.where(action_B == old_B, 0.6, 0.2)).astype(float)
        >>> log = Logged(action_B, reward_B, np.full(4000, 0.5), 2)
        >>> one_B = np.tile([0.0, 1.0], (4000, 1))
        >>> from muma.evaluation.off_policy.snips import SNIPS
        >>> found = gain_by_group(log, one_B, {"old": old_B}, estimator=SNIPS())
        >>> [(row.group, row.effect) for row in found.rows]
        [('0', 'hurts'), ('1', 'helps')]
    """
    estimator = estimator or DoublyRobust()
    terms = estimator.terms(view(logged, target_BA, prediction_BA=prediction_BA))
    acted = acted_terms(logged, terms, per_answer=estimator.per_answer)
    parts, tests = [], {}
    for column, value_B in groups.items():
        label_B = _labels(column, value_B, len(logged))
        if estimator.per_answer:
            _whole_answers(column, label_B, logged)
        found = [
            _group(logged, terms, acted, column, str(group), label_B == group, config)
            for group in np.unique(label_B)
        ]
        parts += found
        decided = [row.group for row in found if not row.reasons]
        tests[column] = _heterogeneity(logged, terms, acted, label_B, decided)
    p_M = np.array([row.p for row in parts])
    holm_M, bh_M = holm(p_M), benjamini_hochberg(p_M)
    rows = tuple(
        _told(row, float(h), float(b), config)
        for row, h, b in zip(parts, holm_M, bh_M, strict=True)
    )
    overall = paired_gain(terms, acted, logged.units_B, level=config.level, label="overall")
    corrected = holm(np.array([*tests.values()]))
    return GroupReport(
        rows,
        overall,
        dict(zip(tests, corrected.tolist(), strict=True)),
        estimator.name,
        config,
    )


def acted_terms(logged: Logged, terms: Terms, *, per_answer: bool) -> Terms:
    """What the policy that acted earned, per round, or per answer as `terms` are.

    Example:
        >>> log = Logged(np.zeros(2, int), np.array([1.0, 2.0]), np.ones(2), 1)
        >>> answer = Terms(np.zeros(2), denominator_B=np.array([1.0, 0.0]))
        >>> acted_terms(log, answer, per_answer=True).value
        3.0
    """
    below_B = terms.denominator_B if per_answer else None
    return Terms(np.asarray(logged.reward_B, np.float64), denominator_B=below_B)


def _whole_answers(column: str, label_B: np.ndarray, logged: Logged) -> None:
    """Refuse groups that cut through an answer."""
    answers = np.unique(np.asarray(logged.slate_B))
    pairs = set(zip(np.asarray(logged.slate_B).tolist(), label_B.tolist(), strict=True))
    if len(pairs) > len(answers):
        raise DataError(
            f"group column {column!r} differs between the slots of an answer; answers are valued whole: "
            "group by what is known of the request"
        )


def _group(
    logged: Logged,
    terms: Terms,
    whole: Terms,
    column: str,
    group: str,
    in_B: np.ndarray,
    config: GroupsConfig,
) -> GroupGain:
    part, some, acted = logged.rows(in_B), _rows(terms, in_B), _rows(whole, in_B)
    gain = paired_gain(some, acted, part.units_B, level=config.level, label=group)
    reasons = []
    if gain.n < config.least_units:
        reasons.append(f"it has {gain.n} units; {config.least_units} are needed")
    units = units_of(part.units_B, len(part))
    if some.weight_B is not None:
        tail = weight_tail(some.weight_B, part.reward_B, units)
        reasons += weight_reasons(tail, units.count, config.verdict)
    _, error_U = paired_errors(some, acted, units)
    error = standard_error(error_U)
    if not error > 0 and not reasons:
        reasons.append("the gain has no spread; a policy equal to the logged one cannot differ")
    p = float("nan")
    if not reasons:
        p = float(2 * stdtr(units.count - 1, -abs(gain.value / error)))
    return GroupGain(
        column, group, len(part), gain, acted.value, p, p, p, "undecidable", tuple(reasons)
    )


def _told(row: GroupGain, p_holm: float, p_bh: float, config: GroupsConfig) -> GroupGain:
    effect: Effect = "undecidable"
    if not row.reasons:
        below = (p_holm if config.correction == "holm" else p_bh) < config.q
        effect = ("helps" if row.gain.value > 0 else "hurts") if below else "not separable"
    return GroupGain(**{**vars(row), "p_holm": p_holm, "p_bh": p_bh, "effect": effect})


def _heterogeneity(
    logged: Logged, terms: Terms, acted: Terms, label_B: np.ndarray, decided: list[str]
) -> float:
    """P-value of equal gains in the groups that can be decided."""
    if len(decided) < 2:
        return float("nan")
    whole = units_of(logged.units_B, len(logged))
    place_B = np.arange(len(logged)) if whole.place_B is None else whole.place_B
    value_G, part_UG = np.empty(len(decided)), np.zeros((whole.count, len(decided)))
    for g, group in enumerate(decided):
        in_B = label_B == group
        units = units_of(place_B[in_B], int(in_B.sum()))
        value_G[g], error_U = paired_errors(_rows(terms, in_B), _rows(acted, in_B), units)
        # the units' variances are those of their own group's count
        part_UG[np.unique(place_B[in_B]), g] = error_U / np.sqrt(units.count * (units.count - 1))
    covariance_GG = part_UG.T @ part_UG
    away_G = value_G[1:] - value_G[0]
    spread = (
        covariance_GG[1:, 1:] - covariance_GG[0, 1:] - covariance_GG[1:, :1] + covariance_GG[0, 0]
    )
    return float(chdtrc(len(away_G), away_G @ np.linalg.pinv(spread) @ away_G))


def _rows(terms: Terms, in_B: np.ndarray) -> Terms:
    below = None if terms.denominator_B is None else terms.denominator_B[in_B]
    weight = None if terms.weight_B is None else terms.weight_B[in_B]
    return Terms(terms.numerator_B[in_B], denominator_B=below, weight_B=weight)


def _labels(column: str, value_B: np.ndarray, n: int) -> np.ndarray:
    if np.shape(value_B) != (n,):
        raise DataError(f"group column {column!r} has {np.shape(value_B)} values for {n} rounds")
    # a NaN is the only value that differs from itself
    names = [MISSING if v is None or v != v or v == "" else str(v) for v in value_B.tolist()]  # noqa: PLR0124
    label_B = np.array(names)
    if (many := len(set(names))) > _MOST:
        raise DataError(
            f"group column {column!r} has {many} groups; at most {_MOST} can be judged: bin it first"
        )
    return label_B


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
