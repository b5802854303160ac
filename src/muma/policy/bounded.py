"""Bounds on the exploration of any policy, with propensities that stay exact.

A slot is open to the policy's chance, or it is greedy: then the candidate that the policy expects most
of takes it with probability 1, the support is 1, and nothing else can be judged on it. Which of the two
holds follows from the slots before and from the state (`Ledger`, the switch), never from chance of its
own, so that the probabilities given both are exact and a choice reproduces from (seed, request id) and
the saved state.

`choose` changes nothing. The application notes what it showed by `observe`, and feedback comes by
`learn`; requests answered at the same time do not know of each other, and may together pass `share` by
what they explore.

Shape: N candidates, n places taken.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from muma.artifact import Artifact, Writer
from muma.candidates.storage import (
    artifact_within,
    load_config,
    save_config,
    writer_within,
)
from muma.config import Config, Spec, build, locate
from muma.errors import DataError
from muma.policy.bounds import Ledger, Limits, likely_enough
from muma.policy.checks import check_feedback, check_slate, check_taken
from muma.policy.policy import Context, Decision, Feedback
from muma.policy.sequential import Judgement, SequentialPolicy
from muma.ranking.ranker import Slate

_LEDGER, _SWITCH, _INNER = "ledger.npz", "switch.json", "policy"


class BoundedConfig(Config):
    """Settings of a bounded policy.

    Attributes:
        policy: the policy that explores, by its import path.
        limits: how much it may.
    """

    policy: Spec = Spec(use="muma.policy.thompson.Thompson")
    limits: Limits = Limits()


class Bounded(SequentialPolicy[BoundedConfig]):
    """A policy whose exploration is bounded.

    Args:
        config: the settings.
        policy: a policy already built, instead of the config's.

    Example:
        >>> policy = Bounded(BoundedConfig(limits=Limits(per_request=0)))
        >>> slate = Slate.plain(np.array([4, 7]), np.array([0.0, 1.0]))
        >>> policy.next_slot(slate, Context("r1", time=0), taken=[]).tolist()
        [0.0, 1.0]
    """

    name: ClassVar[str] = "bounded"

    def __init__(
        self,
        config: BoundedConfig = BoundedConfig(),
        *,
        policy: SequentialPolicy | None = None,
    ) -> None:
        self.config = config
        self.policy: SequentialPolicy = (
            build(config.policy, where="policy.policy", methods=("judge", "learn", "next_slot"))
            if policy is None
            else policy
        )
        self.ledger = Ledger(config.limits)
        self.reason: str | None = None
        self._reached: dict[int, int] = {}

    @property
    def as_of(self) -> int:
        """Latest event time that was learned from, microseconds; -1 for nothing."""
        return self.policy.as_of

    @property
    def version(self) -> str:
        """Name and digest of the settings, and those of the policy inside."""
        return f"{super().version}+{self.policy.version}"

    def switch_off(self, reason: str) -> None:
        """Stop exploration, whatever the limits say, until `switch_on`."""
        self.reason = reason

    def switch_on(self) -> None:
        """Leave exploration to the limits again."""
        self.reason = None

    def judge(self, slate: Slate, context: Context) -> Judgement:
        """Judge a request."""
        return self._judged(slate, context, np.zeros(0, dtype=np.int64))

    def next_slot(
        self, slate: Slate, context: Context, taken: Sequence[int], closed: Sequence[int] = ()
    ) -> np.ndarray:
        """See `Policy.next_slot`; whether a slot before was explored is seen without the closed."""
        check_slate(slate)
        check_taken([*taken, *closed], len(slate))
        taken_n, closed_n = (np.asarray(p, dtype=np.int64) for p in (list(taken), list(closed)))
        return self._judged(slate, context, closed_n).slot(taken_n)

    def observe(self, decision: Decision, *, time: int) -> None:
        """Note what was shown, once a decision; the order of decisions changes nothing.

        Args:
            decision: made by this policy, or by what acts in its place.
            time: event time of its request, microseconds.
        """
        self.ledger.shown(decision.explored_K, time)

    def learn(self, feedback: Feedback) -> None:
        """See `Policy.learn`; the guard, too, passes over rows of a `source` that it has seen.

        Raises:
            DataError: besides, the feedback does not say which slots were explored, while a guard asks.
        """
        check_feedback(feedback)
        guards = self.config.limits.guard_ratio is not None
        if guards and feedback.explored_E is None:
            raise DataError(
                "the guard compares explored slots with greedy ones, and the feedback does not say "
                "which is which; keep explored_K of the decisions, or set guard_ratio to none"
            )
        self.policy.learn(feedback)
        if guards and feedback.explored_E is not None:
            seen = self._seen(feedback)
            self.ledger.rewarded(
                feedback.explored_E[seen:], feedback.reward_E[seen:], feedback.time_E[seen:]
            )

    def _seen(self, feedback: Feedback) -> int:
        """Number of rows that the guard has seen before, which are the first ones; now it has seen all."""
        if feedback.source is None:
            return 0
        partition, first = feedback.source
        reached = self._reached.get(partition, 0)
        self._reached[partition] = max(reached, first + len(feedback))
        return min(max(reached - first, 0), len(feedback))

    def save(self, writer: Writer) -> None:
        """Write the settings, the ledger, the switch and the policy inside."""
        save_config(writer, self.config)
        ledger = {"slots_1W": self.ledger.slots_1W, "rewards_2W": self.ledger.rewards_2W}
        writer.arrays(_LEDGER, ledger)
        switch = {"reason": self.reason, "reached": self._reached}
        writer.path(_SWITCH).write_text(json.dumps(switch), encoding="utf-8")
        self.policy.save(writer_within(writer, _INNER))

    @classmethod
    def load(cls, artifact: Artifact) -> Self:
        """Read what `save` wrote."""
        config = load_config(artifact, BoundedConfig)
        inner = locate(config.policy.use).load(artifact_within(artifact, _INNER))
        bounded = cls(config, policy=inner)
        arrays = artifact.arrays(_LEDGER)
        bounded.ledger.slots_1W = arrays["slots_1W"]
        bounded.ledger.rewards_2W = arrays["rewards_2W"]
        switch = json.loads(artifact.path(_SWITCH).read_text(encoding="utf-8"))
        bounded.reason = switch["reason"]
        reached = switch.get("reached", {})
        bounded._reached = {int(partition): offset for partition, offset in reached.items()}
        return bounded

    def _judged(self, slate: Slate, context: Context, closed_n: np.ndarray) -> Judgement:
        inner = self.policy.judge(slate, context)
        stopped = self.reason is not None or self.ledger.guarded(context.time)
        least = self.config.limits.least_propensity

        def slot(taken_n: np.ndarray) -> np.ndarray:
            gone_n = np.concatenate([taken_n, closed_n])
            explored = sum(
                int(place) != inner.best(np.concatenate([taken_n[:s], closed_n]))
                for s, place in enumerate(taken_n)
            )
            if not stopped and self.ledger.room(context.time, len(taken_n), explored):
                p_N = inner.slot(gone_n)
                return likely_enough(p_N, inner.greedy_N, least) if least > 0 else p_N
            p_N = np.zeros(len(slate))
            p_N[inner.best(gone_n)] = 1.0
            return p_N

        floor = max(inner.floor, least)
        return Judgement(inner.expected_N, inner.greedy_N, slot, floor, inner.error)
