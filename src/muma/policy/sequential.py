"""Slots filled one after the other: the one place where places are drawn and propensities noted.

A policy judges a request once (`judge`). The judgement gives the probabilities of the next slot for any
slots before, and `draw` walks down the slots: one number of the request's generator a slot, by inversion.
So a choice depends on the seed and the request id, and on no other request.

Shape: N candidates, K slots.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, Self, TypeVar

import numpy as np

from muma.artifact import Artifact, Writer
from muma.config import Config
from muma.policy.checks import check_slate, check_slots, check_taken
from muma.policy.policy import Context, Decision, Feedback
from muma.ranking.ranker import Slate

C = TypeVar("C", bound=Config)
Slots = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Judgement:
    """What a policy makes of one request.

    Attributes:
        expected_N: reward it expects of each candidate, float64 [N].
        greedy_N: places in falling order of `expected_N` (see `floor.rank`), int64 [N].
        slot: places taken, int64 [n] in slot order -> probabilities of the next slot, float64 [N].
        floor: least probability of a candidate in the support.
        error: how far a probability may lie from the one that the policy's definition asks for.
        fill: who is open, boolean [N], and one uniform number a slot, float64 [K] -> place, probability,
            candidates with a chance and best open place of each slot; what `slot` and `pick` give slot for
            slot, in one compiled loop. None where the policy has none.
    """

    expected_N: np.ndarray
    greedy_N: np.ndarray
    slot: Callable[[np.ndarray], np.ndarray]
    floor: float
    error: float = 0.0
    fill: Callable[[np.ndarray, np.ndarray], Slots] | None = None

    def best(self, taken_n: np.ndarray) -> int:
        """Place of the candidate, of those left, that the policy expects most of."""
        taken = set(taken_n.tolist())
        return next(place for place in self.greedy_N.tolist() if place not in taken)


def pick(p_N: np.ndarray, u: float) -> int:
    """The place that `u`, uniform in [0, 1), falls on.

    Example:
        >>> [pick(np.array([0.25, 0, 0.75]), u) for u in (0.2, 0.25, 0.9999)]
        [0, 2, 2]
    """
    total_N = np.cumsum(p_N)
    place = int(np.searchsorted(total_N, u * total_N[-1], side="right"))
    return place if place < len(p_N) else int(np.flatnonzero(p_N)[-1])


def draw(
    judgement: Judgement,
    slate: Slate,
    context: Context,
    k: int,
    rng: np.random.Generator,
    *,
    policy: str,
    as_of: int,
) -> Decision:
    """Fill `min(k, N)` slots.

    Args:
        judgement: of this request.
        slate: the candidates.
        context: who asks.
        k: slots, at least 1.
        rng: the request's own generator.
        policy: name and version, for the decision.
        as_of: event time up to which the policy had learned.
    """
    n = min(k, len(slate))
    place_K = np.zeros(n, dtype=np.int64)
    propensity_K, support_K = np.zeros(n), np.zeros(n, dtype=np.int64)
    explored_K = np.zeros(n, dtype=bool)
    for s, u in enumerate(rng.random(n).tolist()):
        p_N = judgement.slot(place_K[:s])
        place = pick(p_N, u)
        place_K[s], propensity_K[s] = place, p_N[place]
        support_K[s] = np.count_nonzero(p_N)
        explored_K[s] = place != judgement.best(place_K[:s])
    return Decision(
        request_id=context.request_id,
        item_K=slate.item_N[place_K].astype(np.int64),
        propensity_K=np.minimum(propensity_K, 1.0),
        support_K=support_K,
        explored_K=explored_K,
        floor=judgement.floor,
        policy=policy,
        error=judgement.error,
        as_of=as_of,
    )


class SequentialPolicy(ABC, Generic[C]):
    """Base of policies that judge a request once and fill its slots one after the other.

    A subclass gives `judge`, `learn`, `save` and `load`, and `as_of` where it learns.
    """

    name: ClassVar[str]
    config: C

    @abstractmethod
    def judge(self, slate: Slate, context: Context) -> Judgement:
        """Judge a request whose slate was checked; equal arguments give an equal judgement."""

    @abstractmethod
    def learn(self, feedback: Feedback) -> None:
        """See `Policy.learn`."""

    @abstractmethod
    def save(self, writer: Writer) -> None:
        """Write what was learned."""

    @classmethod
    @abstractmethod
    def load(cls, artifact: Artifact) -> Self:
        """Read what `save` wrote."""

    @property
    def as_of(self) -> int:
        """Latest event time that was learned from, microseconds; -1 for nothing."""
        return -1

    @property
    def version(self) -> str:
        """Name, and a digest of the settings."""
        settings = self.config.model_dump_json().encode()
        return f"{self.name}/{hashlib.sha256(settings).hexdigest()[:8]}"

    def next_slot(
        self, slate: Slate, context: Context, taken: Sequence[int], closed: Sequence[int] = ()
    ) -> np.ndarray:
        """See `Policy.next_slot`."""
        check_slate(slate)
        taken_n = check_taken([*taken, *closed], len(slate))
        return self.judge(slate, context).slot(taken_n)

    def expected(self, slate: Slate, context: Context) -> np.ndarray:
        """See `Policy.expected`."""
        check_slate(slate)
        return self.judge(slate, context).expected_N

    def choose(self, slate: Slate, context: Context, k: int, rng: np.random.Generator) -> Decision:
        """See `Policy.choose`."""
        check_slots(k)
        check_slate(slate)
        judgement = self.judge(slate, context)
        return draw(judgement, slate, context, k, rng, policy=self.version, as_of=self.as_of)
