"""The gate of promotions, judged by off-policy estimators on the service's own decisions.

Every shown slot of the last decisions is asked again of the live version and of the candidate: with what
chance would each candidate item have taken it? The logged propensities and what came back give an estimate
of each version's reward a slot, and the difference an interval, paired user by user. A candidate passes
when the interval's lower end lies above -tolerance times the live version's value.

Shape: B slots, A candidates of the longest list.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from muma.app.service.shown import earned_by
from muma.config import Spec, build, locate
from muma.errors import ConfigError
from muma.evaluation.off_policy.diagnostics import diagnose
from muma.evaluation.off_policy.estimator import Estimator, view
from muma.evaluation.off_policy.logged import Logged
from muma.evaluation.off_policy.paired import paired_gain
from muma.evaluation.off_policy.reward_model import deal
from muma.evaluation.off_policy.units import units_of
from muma.evaluation.off_policy.verdict import VerdictConfig, overlap_reasons, weight_reasons
from muma.events.stream import EventStream
from muma.serving.bundle import Bundle
from muma.serving.engine import ServingEngine
from muma.serving.evidence.frames import ERASED, tenant_hash
from muma.serving.evidence.reader import EvidenceReader
from muma.serving.evidence.rewards import RewardConfig
from muma.serving.gate import GateConfig, GateVerdict
from muma.serving.recommending import Evidence
from muma.serving.rescoring import Rescored, can_rescore, rescored

SPANS = (1 / 144, 1 / 24, 1 / 4, 1.0)
"""Shares of the window that are looked through until they hold enough."""
FOLDS, L2 = 3, 1.0


@dataclass(frozen=True)
class _Slots:
    """The judged slots under both versions."""

    logged: Logged
    live_BA: np.ndarray
    other_BA: np.ndarray
    score_BAG: np.ndarray


class PromotionGate:
    """Judges candidates on the last decisions; see `muma.serving.gate.Gate`.

    Args:
        engine: what answers now.
        evidence: the decisions.
        stream: gives the events; a function, since a pause opens the stream anew.
        config: what a candidate must show.
        reward: what a slot earned.
        tenant: whose decisions.
        clock: UTC microseconds.
    """

    def __init__(
        self,
        engine: ServingEngine,
        evidence: EvidenceReader,
        stream: Callable[[], EventStream],
        *,
        config: GateConfig,
        reward: RewardConfig,
        tenant: str,
        clock: Callable[[], int],
    ) -> None:
        self._engine, self._evidence, self._stream = engine, evidence, stream
        self._config, self._reward = config, reward
        self._tenant, self._clock = tenant, clock
        self._estimator = _estimator(config.estimator)

    def judge(self, candidate: Bundle) -> GateVerdict:
        """Compare it with what answers now."""
        pairs, left_out = self._pairs(candidate)
        if len(pairs) < self._config.least_decisions:
            found = GateVerdict(
                False, "", len(pairs), estimator=self._estimator.name, left_out=left_out
            )
            why = (
                f"{len(pairs)} decisions with feedback in the last {self._config.window_hours:g} h, "
                f"and {self._config.least_decisions} are needed to judge"
            )
            return self._thin(found, why)
        slots = _laid_out(pairs)
        return self._judged(slots, len(pairs), left_out)

    def _judged(self, slots: _Slots, decisions: int, left_out: int) -> GateVerdict:
        logged, estimator = slots.logged, self._estimator
        prediction_BA = _predicted(slots) if estimator.needs_model else None
        live, other = (
            view(logged, target_BA, prediction_BA=prediction_BA)
            for target_BA in (slots.live_BA, slots.other_BA)
        )
        live_terms = estimator.terms(live)
        gain = paired_gain(
            estimator.terms(other), live_terms, logged.units_B, level=self._config.level
        )
        least = -self._config.tolerance * abs(live_terms.value)
        found = GateVerdict(
            bool(gain.low > least) or gain.value == gain.low == gain.high == 0, "", decisions,
            len(logged), live_terms.value, gain.value, gain.low, gain.high, estimator.name, left_out,
        )  # fmt: skip
        figures = (
            f"its reward a slot differs by {gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] from "
            f"the live version's {live_terms.value:.4f} ({estimator.name}, {decisions} decisions, "
            f"{len(logged)} slots); the lower end must lie above {least:+.4f}"
        )
        if not found.passed:
            return replace(found, reason=f"it may be worse: {figures}")
        units = units_of(logged.units_B, len(logged)).count
        verdict = VerdictConfig(effective_n=min(100.0, units / 2), unsupported=1.0)
        seen = diagnose(other)
        doubts = [*overlap_reasons(seen, verdict), *weight_reasons(seen.tail, units, verdict)]
        if doubts:
            return self._thin(found, f"{figures}; but the log cannot vouch for that: {doubts[0]}")
        return replace(found, reason=figures)

    def _thin(self, found: GateVerdict, why: str) -> GateVerdict:
        allowed = self._config.on_thin_log == "allow"
        tail = "passed" if allowed else "kept out"
        return replace(
            found, passed=allowed,
            reason=f"{why}; {tail}, as serving.gate.on_thin_log = {self._config.on_thin_log!r} says",
        )  # fmt: skip

    def _pairs(
        self, candidate: Bundle
    ) -> tuple[list[tuple[Evidence, Rescored, Rescored, dict[str, float]]], int]:
        """The newest decisions with feedback under both versions, and how many could not be judged."""
        now = self._clock()
        until = now - self._reward.closing_us
        window = round(self._config.window_hours * 3600e6)
        kept = self._newest(until, window)
        stream, decided = self._stream(), {one.ask.request_id: one.ask.time for one in kept}
        earned = earned_by(stream, decided, self._reward)
        found, left_out = [], 0
        versions = self._engine.versions
        for evidence in kept:
            reward = earned[evidence.ask.request_id].reward
            if self._reward.shown_by is None:
                reward = {one.item: reward.get(one.item, 0.0) for one in evidence.answer.items}
            if not reward:
                continue
            if not (can_rescore(versions.bundle, evidence) and can_rescore(candidate, evidence)):
                left_out += 1
                continue
            both = [
                rescored(bundle, evidence, versions, versions.policy)
                for bundle in (versions.bundle, candidate)
            ]
            if len(both[0].place_K):
                found.append((evidence, both[0], both[1], reward))
            else:
                left_out += 1
            time.sleep(self._config.pause_ms / 1e3)
        return found, left_out

    def _newest(self, until: int, window: int) -> list[Evidence]:
        """The newest decisions of the window that are not erased, each request once."""
        most, mine = self._config.most_decisions, tenant_hash(self._tenant)
        since = until
        for share in SPANS:
            since = until - round(share * window)
            times = sorted(
                frame.time
                for frame in self._evidence.heads(since, until)
                if frame.tenant == mine and not frame.flags & ERASED
            )
            if len(times) >= most:
                since = times[-most]
                break
        found: dict[str, Evidence] = {}
        for evidence in self._whole(since, until):
            found[evidence.ask.request_id] = evidence
        return list(found.values())

    def _whole(self, since: int, until: int) -> Iterator[Evidence]:
        for frame, evidence in self._evidence.flagged(since, until, tenant=self._tenant):
            if not frame.flags & ERASED:
                yield evidence


def _estimator(spec: Spec) -> Estimator:
    """The estimator, with its settings if it has any.

    Raises:
        ConfigError: there is none of this name, or the settings are wrong.
    """
    kind = locate(spec.use)
    if kind.__init__ is object.__init__ and callable(getattr(kind, "terms", None)):
        if spec.params:
            raise ConfigError(
                f"serving.gate.estimator: {spec.use} takes no settings; got {spec.params}"
            )
        return kind()
    return build(spec, where="serving.gate.estimator", methods=("terms",))


def _laid_out(pairs: list[tuple[Evidence, Rescored, Rescored, dict[str, float]]]) -> _Slots:
    """Slots as rounds; an action is a place in its own answer's list."""
    width = max(len(evidence.item_N) for evidence, *_ in pairs)
    rows = [
        (number, slot, evidence, live, other, reward)
        for number, (evidence, live, other, reward) in enumerate(pairs)
        for slot in range(min(len(live.place_K), len(other.place_K)))
        if evidence.answer.items[slot].item in reward
    ]
    live_BA, other_BA = np.zeros((len(rows), width)), np.zeros((len(rows), width))
    score_BAG = np.zeros((len(rows), width, 2))
    for b, (_, slot, _, live, other, _) in enumerate(rows):
        n = len(live.score_N)
        live_BA[b, :n], other_BA[b, :n] = live.chance_KN[slot], other.chance_KN[slot]
        score_BAG[b, :n, 0], score_BAG[b, :n, 1] = live.score_N, other.score_N
    users = [row[2].ask.user for row in rows]
    known = {user: place for place, user in enumerate(dict.fromkeys(u for u in users if u))}
    number_B = np.array([row[0] for row in rows], dtype=np.int64)
    unit_B = np.array(
        [
            known[user] if user else len(known) + row[0]
            for user, row in zip(users, rows, strict=True)
        ]
    )
    items = [row[2].answer.items[row[1]] for row in rows]
    logged = Logged(
        action_B=np.array([row[3].place_K[row[1]] for row in rows], dtype=np.int64),
        reward_B=np.array([row[5][one.item] for row, one in zip(rows, items, strict=True)]),
        propensity_B=np.array([one.propensity for one in items]),
        n_actions=width,
        position_B=np.array([row[1] for row in rows], dtype=np.int64),
        unit_B=unit_B,
        slate_B=number_B,
    )
    return _Slots(logged, live_BA, other_BA, score_BAG)


def _predicted(slots: _Slots) -> np.ndarray:
    """Reward of every candidate in every slot by a ridge of both versions' scores, cross-fitted: [B, A]."""
    logged = slots.logged
    score_BAG = slots.score_BAG
    position_BA = np.broadcast_to(
        np.log1p(np.asarray(logged.position_B))[:, None], score_BAG.shape[:2]
    )
    whole_BAG = np.concatenate(
        [score_BAG, expit(score_BAG), position_BA[..., None], np.ones((*position_BA.shape, 1))],
        axis=2,
    )
    shown_BG = whole_BAG[np.arange(len(logged)), logged.action_B]
    units = units_of(logged.units_B, len(logged)).count
    fold_B = deal(logged, folds=min(FOLDS, units), seed=0)
    predicted_BA = np.zeros(score_BAG.shape[:2])
    low, high = float(logged.reward_B.min()), float(logged.reward_B.max())
    for fold in np.unique(fold_B):
        held_B = fold_B == fold
        x_bG, y_b = shown_BG[~held_B], logged.reward_B[~held_B]
        weight_G = np.linalg.solve(x_bG.T @ x_bG + L2 * np.eye(x_bG.shape[1]), x_bG.T @ y_b)
        predicted_BA[held_B] = np.clip(whole_BAG[held_B] @ weight_G, low, high)
    return predicted_BA
