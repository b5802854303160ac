"""What policies of independent arms share: statistics by item, a prior, a floor.

Shape: N candidates.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Self, TypeVar, cast

import numpy as np

from muma.artifact import Artifact, Writer
from muma.candidates.storage import load_config, save_config
from muma.config import Config, Spec, build, config_type
from muma.policy.checks import check_feedback
from muma.policy.floor import Floor
from muma.policy.forgetting import Forgetting, Moments
from muma.policy.held_statistics import HeldStatistics
from muma.policy.policy import Context, Feedback
from muma.policy.prior import Prior
from muma.policy.sequential import SequentialPolicy
from muma.policy.statistics import ArmStatistics, Statistics, save_statistics
from muma.ranking.ranker import Slate

METHODS = ("empty", "add", "read")


class ArmConfig(Config):
    """Settings of every policy of arms.

    Attributes:
        forgetting: how the past is weighed, by import path: `muma.policy.forgetting.Stationary`,
            `muma.policy.discounted.Discounted`, `muma.policy.sliding_window.SlidingWindow`.
        prior: what an arm is worth before it was shown.
        floor: least probability of a candidate in the support.
    """

    forgetting: Spec = Spec(use="muma.policy.forgetting.Stationary")
    prior: Prior = Prior()
    floor: Floor = Floor()


A = TypeVar("A", bound=ArmConfig)


@dataclass(frozen=True)
class Evidence:
    """What is known of the candidates of one request.

    Attributes:
        count_N: weight of rewards, imagined ones of the prior included, float64 [N].
        mean_N: their mean; 0 where there are none.
        prior_N: mean of the imagined rewards.
        moments: of the rewards alone.
        total: count of rewards over all items.
    """

    count_N: np.ndarray
    mean_N: np.ndarray
    prior_N: np.ndarray
    moments: Moments
    total: float


class ArmPolicy(SequentialPolicy[A]):
    """Base of policies of independent arms; a subclass gives `judge`.

    Args:
        config: the settings.
        statistics: where they are kept; None: in memory.
    """

    def __init__(self, config: A, *, statistics: Statistics | None = None) -> None:
        self.config = config
        self.statistics: Statistics = (
            ArmStatistics(forgetting_of(config)) if statistics is None else statistics
        )

    @property
    def as_of(self) -> int:
        """Latest event time that was learned from, microseconds; -1 for nothing."""
        return self.statistics.as_of

    def evidence(self, slate: Slate, context: Context) -> Evidence:
        """What is known of the candidates as of the request."""
        prior = self.config.prior
        moments, total = self.statistics.read(slate.item_N, context.time)
        prior_N = prior.means(slate)
        count_N = moments.count_N + prior.strength
        sum_N = moments.sum_N + prior.strength * prior_N
        mean_N = np.divide(sum_N, count_N, out=np.zeros(len(slate)), where=count_N > 0)
        return Evidence(count_N, mean_N, prior_N, moments, total)

    def held(
        self, item_N: np.ndarray, rows: tuple[np.ndarray, np.ndarray] | None = None
    ) -> tuple[Self, HeldStatistics]:
        """The policy with the statistics of some items as they stand now, or stood then.

        Args:
            item_N: dense items of a request, each once.
            rows: theirs and the totals as `Statistics.of` gave them once; None reads them now.
        """
        row_NW, total_1W = self.statistics.of(item_N) if rows is None else rows
        found = copy(self)
        found.statistics = HeldStatistics(item_N, row_NW, total_1W, self.statistics.forgetting)
        return found, found.statistics

    def learn(self, feedback: Feedback) -> None:
        """See `Policy.learn`."""
        check_feedback(feedback)
        self.statistics.add(feedback)

    def save(self, writer: Writer) -> None:
        """Write the settings and the statistics."""
        save_config(writer, self.config)
        save_statistics(writer, self.statistics)

    @classmethod
    def load(cls, artifact: Artifact) -> Self:
        """Read what `save` wrote; the statistics are in memory then."""
        config = load_config(artifact, cast("type[A]", config_type(cls)))
        statistics = ArmStatistics.load(artifact, forgetting_of(config))
        return cls(config, statistics=statistics)


def forgetting_of(config: ArmConfig) -> Forgetting:
    """The rule that a config names."""
    return build(config.forgetting, where="policy.forgetting", methods=METHODS)
