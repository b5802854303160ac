"""What policies with one linear model of the slate's features share: learning, saving, loading."""

from __future__ import annotations

from typing import Self, TypeVar

import numpy as np

from muma.artifact import Artifact, Writer
from muma.candidates.storage import load_config, save_config
from muma.config import config_type
from muma.errors import DataError
from muma.policy.checks import check_feedback
from muma.policy.linear_statistics import LinearConfig, LinearStatistics
from muma.policy.policy import Feedback
from muma.policy.sequential import SequentialPolicy
from muma.policy.shared_linear import SharedLinear

_FILE = "linear.npz"

L = TypeVar("L", bound=LinearConfig)


class LinearPolicy(SequentialPolicy[L]):
    """Base of linear policies; a subclass gives `judge`.

    Args:
        config: the settings.
        statistics: where the moments are kept; None: in memory.
    """

    def __init__(
        self, config: L, *, statistics: LinearStatistics | SharedLinear | None = None
    ) -> None:
        self.config = config
        self.statistics = LinearStatistics(config) if statistics is None else statistics

    @property
    def as_of(self) -> int:
        """Latest event time that was learned from, microseconds; -1 for nothing."""
        return self.statistics.time

    def learn(self, feedback: Feedback) -> None:
        """See `Policy.learn`.

        Raises:
            DataError: besides, features are missing, of another width, or infinite.
        """
        check_feedback(feedback)
        value_EF, source = features_of(feedback), feedback.source
        self.statistics.add(value_EF, feedback.reward_E, feedback.time_E, source=source)

    def save(self, writer: Writer) -> None:
        """Write the settings and the moments."""
        save_config(writer, self.config)
        writer.arrays(_FILE, self.statistics.arrays())

    @classmethod
    def load(cls, artifact: Artifact) -> Self:
        """Read what `save` wrote; the moments are in memory then."""
        config = load_config(artifact, config_type(cls))
        policy = cls(config)  # pyright: ignore[reportArgumentType] - config_type is that of cls
        policy.statistics = LinearStatistics.from_arrays(policy.config, artifact.arrays(_FILE))
        return policy


def features_of(feedback: Feedback) -> np.ndarray:
    """The features in feedback, float [E, F].

    Raises:
        DataError: they were not kept, or their rows are not the feedback's.
    """
    value_EF = feedback.value_EF
    if value_EF is None or np.ndim(value_EF) != 2 or len(value_EF) != len(feedback):
        shape = None if value_EF is None else np.shape(value_EF)
        raise DataError(
            f"feedback of {len(feedback)} rows has features {shape}; a linear policy needs [rows, "
            "features] as they stood in the slate: keep them with the decision"
        )
    return value_EF
