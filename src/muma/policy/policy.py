"""The contract of this room: a `Slate` and a `Context` in, a `Decision` with its propensities out.

A policy fills K slots one after the other. For every slot it knows the probability of each candidate
given the slots before, and the decision carries the probability of the one that was drawn. That number
is computed, not fitted: it is what lets a later day judge another policy on this day's log.

A floor is a promise about the support: a candidate that can take a slot takes it with at least this
probability. A deterministic choice has propensity 1, a support of 1 and supports no judgement of others.

Shape: N candidates, K slots, D width of the interest vector, F features, E feedback rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from muma.artifact import Artifact, Writer
from muma.ranking.ranker import Slate


@dataclass(frozen=True)
class Context:
    """Who asks, and when.

    Attributes:
        request_id: names the request; with the seed it fixes every random draw.
        time: event time of the request, microseconds since 1970 UTC.
        user: dense index of the user, -1 for one who is not known.
        vector_D: the user's interest vector, float32 [D]; None without one.
    """

    request_id: str
    time: int
    user: int = -1
    vector_D: np.ndarray | None = None


@dataclass(frozen=True)
class Decision:
    """What was shown, with what chance, by whom.

    Attributes:
        request_id: of the context.
        item_K: dense item indices in slot order, int64 [K].
        propensity_K: probability of that item in that slot given the slots before, float64 [K], in
            (0, 1].
        support_K: candidates that could take the slot, int64 [K]; 1 means no choice was left.
        explored_K: whether the slot was given to another candidate than the one of those left that the
            policy expects most of (`Policy.expected`), boolean [K].
        floor: least probability of any candidate in the support of a slot, in [0, 1].
        error: bound, at 99.7 % or better, on how far a propensity lies from the one that the policy's
            definition asks for (quadrature, Monte Carlo); 0 where there is none. The slots were drawn
            from the stated propensities, so that weights made of them are exact all the same.
        policy: name and version of the policy that acted.
        as_of: event time up to which it had learned, microseconds; -1 for nothing.
        versions: other models behind the answer, name -> version.
        rules: rules that touched the answer.
    """

    request_id: str
    item_K: np.ndarray
    propensity_K: np.ndarray
    support_K: np.ndarray
    explored_K: np.ndarray
    floor: float
    policy: str
    error: float = 0.0
    as_of: int = -1
    versions: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of slots that were filled."""
        return len(self.item_K)


@dataclass(frozen=True)
class Feedback:
    """What came back, late and in any order; a row is one shown slot.

    Attributes:
        item_E: dense item indices, int64 [E].
        reward_E: float64 [E], in [0, 1].
        time_E: event time of the decision, int64 microseconds [E].
        propensity_E: of the decision, float64 [E], in (0, 1].
        value_EF: the candidate's features in the decision, float32 [E, F]; None if not kept.
        vector_ED: the user's interest vector in the decision, float32 [E, D]; None if not kept.
        explored_E: `explored_K` of the decision, boolean [E]; None if not kept.
        source: partition and offset of the first row in a durable log of feedback; rows that a shared
            store of statistics has seen before are then passed over. None: all rows are new.
    """

    item_E: np.ndarray
    reward_E: np.ndarray
    time_E: np.ndarray
    propensity_E: np.ndarray
    value_EF: np.ndarray | None = None
    vector_ED: np.ndarray | None = None
    explored_E: np.ndarray | None = None
    source: tuple[int, int] | None = None

    def __len__(self) -> int:
        """Number of shown slots."""
        return len(self.item_E)


class Policy(Protocol):
    """Chooses slots, and learns from what came back."""

    def next_slot(
        self, slate: Slate, context: Context, taken: Sequence[int], closed: Sequence[int] = ()
    ) -> np.ndarray:
        """Probability of each candidate to take the next slot, given those already taken.

        Args:
            slate: the candidates, each once.
            context: who asks; two calls with the same arguments give the same answer.
            taken: places (not item indices) of the candidates in the slots before, in slot order.
            closed: further places that may not take this slot, whatever the reason; the policy draws as
                if they were not there.

        Returns:
            float64 [N]; sums to 1, exactly 0 outside the support.

        Raises:
            DataError: the slate is empty, all of it is taken, an item stands in it twice, a score is not
                finite, or `taken` and `closed` name no place, or one place twice.
        """
        ...

    def expected(self, slate: Slate, context: Context) -> np.ndarray:
        """Reward that the policy expects of each candidate, float64 [N]: its judgement without any
        exploration, on a scale of its own.
        """
        ...

    def choose(self, slate: Slate, context: Context, k: int, rng: np.random.Generator) -> Decision:
        """Fill `min(k, N)` slots.

        Args:
            slate: the candidates, each once.
            context: who asks.
            k: slots, at least 1.
            rng: the request's own generator, `muma.rng.derive(seed, context.request_id)`.

        Raises:
            ConfigError: `k` is below 1.
            DataError: the slate is empty, an item stands in it twice, or a score is not finite.
        """
        ...

    def learn(self, feedback: Feedback) -> None:
        """Take in a batch of feedback; the order of batches does not matter beyond their times.

        Raises:
            DataError: a reward lies outside [0, 1] or is NaN, a propensity outside (0, 1]; nothing of
                the batch was learned.
        """
        ...

    def save(self, writer: Writer) -> None:
        """Write what was learned."""
        ...

    @classmethod
    def load(cls, artifact: Artifact) -> Policy:
        """Read what `save` wrote."""
        ...
