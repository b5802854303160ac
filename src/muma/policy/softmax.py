"""Plackett-Luce over the ranker's scores: the higher the score, the likelier the slot, to every slot.

    P(i takes the slot | the slots before) = exp(s_i / T) / sum over candidates left of exp(s_j / T)

Noise of the Gumbel distribution added to s / T orders all slots in one pass with these probabilities
(Gumbel top-k: Kool, van Hoof and Welling, ICML 2019). The floor is a mixture: with the floors' share of
the chance a slot is drawn evenly instead; such a slot says nothing of the noise, and the order of the
others is as random as before, so that one pass is enough for floored slots too, as long as no candidate
waits outside the support.

Shape: N candidates, n of them in the support, K slots.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from pydantic import Field

from muma.artifact import Artifact, Writer
from muma.candidates.storage import load_config, save_config
from muma.config import Config
from muma.policy.checks import check_feedback, check_slate, check_slots
from muma.policy.floor import Floor, rank
from muma.policy.policy import Context, Decision, Feedback
from muma.policy.sequential import Judgement, SequentialPolicy, draw
from muma.policy.slot_kernels import softmax_fill, softmax_slot
from muma.ranking.ranker import Slate


class SoftmaxConfig(Config):
    """Settings of softmax.

    Attributes:
        temperature: T, in units of the score (log-odds): towards 0 the ranker's order stands.
        floor: least probability of a candidate in the support.
    """

    temperature: float = Field(default=0.5, gt=0)
    floor: Floor = Floor()


class SoftmaxPolicy(SequentialPolicy[SoftmaxConfig]):
    """Draws slots by the ranker's scores; it learns nothing, as the ranker does that.

    Args:
        config: the settings.

    Example:
        >>> policy = SoftmaxPolicy(SoftmaxConfig(temperature=1, floor=Floor(least=0)))
        >>> slate = Slate.plain(np.array([4, 7]), np.log([3.0, 1.0]))
        >>> policy.next_slot(slate, Context("r1", time=0), taken=[]).round(4).tolist()
        [0.75, 0.25]
    """

    name: ClassVar[str] = "softmax"

    def __init__(self, config: SoftmaxConfig = SoftmaxConfig()) -> None:
        self.config = config

    def judge(self, slate: Slate, context: Context) -> Judgement:  # noqa: ARG002 - the contract's
        """Judge a request."""
        order_N = rank(slate.score_N, slate.score_N, slate.item_N)
        score_N, floor = np.ascontiguousarray(slate.score_N, dtype=np.float64), self.config.floor
        most = floor.support(len(slate))
        return Judgement(
            expected_N=slate.score_N,
            greedy_N=order_N,
            slot=lambda taken_n: softmax_slot(
                score_N, order_N, taken_n, self.config.temperature, floor.least, most
            ),
            floor=floor.least,
            fill=lambda open_N, u_K: softmax_fill(
                score_N, order_N, open_N, u_K, self.config.temperature, floor.least, most
            ),
        )

    def choose(self, slate: Slate, context: Context, k: int, rng: np.random.Generator) -> Decision:
        """See `Policy.choose`."""
        check_slots(k)
        check_slate(slate)
        if self.config.floor.support(len(slate)) < len(slate):
            judgement = self.judge(slate, context)
            return draw(judgement, slate, context, k, rng, policy=self.version, as_of=-1)
        k = min(k, len(slate))
        place_K = self._gumbel(slate, k, rng)
        own_KN = np.repeat(slate.score_N[None, :] / self.config.temperature, k, axis=0)
        for s in range(1, k):
            own_KN[s:, place_K[s - 1]] = -np.inf
        own_KN = np.exp(own_KN - own_KN.max(axis=1, keepdims=True))
        slot_K = np.arange(k)
        own_K = own_KN[slot_K, place_K] / own_KN.sum(axis=1)
        left_K = len(slate) - slot_K
        least = self.config.floor.least
        p_K = np.where(left_K == 1, 1.0, least + np.maximum(0.0, 1 - left_K * least) * own_K)
        order = rank(slate.score_N, slate.score_N, slate.item_N).tolist()
        explored_K = np.zeros(k, dtype=bool)
        for s, place in enumerate(place_K.tolist()):
            explored_K[s] = place != order[0]
            order.remove(place)
        return Decision(
            request_id=context.request_id,
            item_K=slate.item_N[place_K].astype(np.int64),
            propensity_K=np.minimum(p_K, 1.0),
            support_K=left_K if least > 0 else np.count_nonzero(own_KN, axis=1),
            explored_K=explored_K,
            floor=least,
            policy=self.version,
        )

    def learn(self, feedback: Feedback) -> None:
        """Check the feedback, and learn nothing of it."""
        check_feedback(feedback)

    def save(self, writer: Writer) -> None:
        """Write the settings."""
        save_config(writer, self.config)

    @classmethod
    def load(cls, artifact: Artifact) -> Self:
        """Read what `save` wrote."""
        return cls(load_config(artifact, SoftmaxConfig))

    def _gumbel(self, slate: Slate, k: int, rng: np.random.Generator) -> np.ndarray:
        """Places of the slots: the highest noisy score left, or, on the floors' share, any left."""
        noisy_N = slate.score_N / self.config.temperature + rng.gumbel(size=len(slate))
        order = np.argsort(-noisy_N, kind="stable").tolist()
        least = self.config.floor.least
        if least == 0:
            return np.array(order[:k], dtype=np.int64)
        u_K2 = rng.random((k, 2))
        place_K = np.zeros(k, dtype=np.int64)
        for s in range(k):
            even = u_K2[s, 0] < len(order) * least
            place_K[s] = order.pop(min(int(u_K2[s, 1] * len(order)), len(order) - 1) if even else 0)
        return place_K


def softmax(index_n: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities in the ratio exp(index / T), float64 [n]; infinite ones share all evenly.

    Example:
        >>> softmax(np.log([1.0, 3.0]), 1.0).round(4).tolist()
        [0.25, 0.75]
        >>> softmax(np.array([np.inf, 0.0, np.inf]), 1.0).tolist()
        [0.5, 0.0, 0.5]
    """
    top = index_n.max()
    own_n = (
        (index_n == top).astype(float) if np.isinf(top) else np.exp((index_n - top) / temperature)
    )
    return own_n / own_n.sum()
