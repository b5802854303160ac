"""The ranker's order as it is: no chance, no exploration, propensity 1.

Shape: N candidates.
"""

from __future__ import annotations

from typing import ClassVar, Self

from muma.artifact import Artifact, Writer
from muma.candidates.storage import load_config, save_config
from muma.config import Config
from muma.policy.checks import check_feedback
from muma.policy.floor import Floor, floored, one_hot, rank
from muma.policy.policy import Context, Feedback
from muma.policy.sequential import Judgement, SequentialPolicy
from muma.ranking.ranker import Slate


class GreedyConfig(Config):
    """Nothing to set."""


class Greedy(SequentialPolicy[GreedyConfig]):
    """Shows the highest scores; nothing else can be judged on its log.

    Args:
        config: the settings.

    Example:
        >>> import numpy as np
        >>> slate = Slate.plain(np.array([4, 7]), np.array([0.0, 1.0]))
        >>> decision = Greedy().choose(slate, Context("r1", 0), 2, np.random.default_rng(0))
        >>> decision.item_K.tolist(), decision.propensity_K.tolist()
        ([7, 4], [1.0, 1.0])
    """

    name: ClassVar[str] = "greedy"

    def __init__(self, config: GreedyConfig = GreedyConfig()) -> None:
        self.config = config

    def judge(self, slate: Slate, context: Context) -> Judgement:  # noqa: ARG002 - the contract's
        """Judge a request."""
        order_N = rank(slate.score_N, slate.score_N, slate.item_N)
        slot = floored(one_hot, order_N, Floor(least=0.0))
        return Judgement(slate.score_N, order_N, slot, floor=1.0)

    def learn(self, feedback: Feedback) -> None:
        """Check the feedback, and learn nothing of it."""
        check_feedback(feedback)

    def save(self, writer: Writer) -> None:
        """Write the settings."""
        save_config(writer, self.config)

    @classmethod
    def load(cls, artifact: Artifact) -> Self:
        """Read what `save` wrote."""
        return cls(load_config(artifact, GreedyConfig))
