"""Neural-linear: Thompson sampling with a regression an arm over the network's interest vector.

    value_a = (1, vector)' theta_a,   theta_a ~ N(A_a^-1 b_a, inflation^2 s_a^2 A_a^-1)

Riquelme, Tucker and Snoek, "Deep Bayesian bandits showdown", ICLR 2018: the network gives the
representation, a Bayesian linear layer on top gives the uncertainty. Each arm has weights of its own: the
interest vector says who asks, not what is offered, so that one shared model would value all candidates
alike. What is known of a new item's content comes in by the ranker's probability (`prior`).

A user without a vector (cold, or NaN) stands at the zero vector: the arm's intercept speaks, its mean
over users.

Shape: N candidates, M draws, D width of the vector.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from muma.artifact import Artifact, Writer
from muma.candidates.storage import load_config, save_config
from muma.errors import DataError
from muma.features.store import StateStore
from muma.policy.arm_regressions import ArmRegressions
from muma.policy.checks import check_feedback
from muma.policy.linear_statistics import leaned
from muma.policy.linear_thompson import LinearThompsonConfig, judged
from muma.policy.policy import Context, Feedback
from muma.policy.sequential import Judgement, SequentialPolicy
from muma.policy.shared_linear import SharedRegressions
from muma.ranking.ranker import Slate
from muma.rng import derive

_FILE = "arms.npz"


class NeuralLinearConfig(LinearThompsonConfig):
    """Settings of neural-linear; see `LinearThompsonConfig`. Vectors are taken as they are."""


class NeuralLinear(SequentialPolicy[NeuralLinearConfig]):
    """Thompson sampling over arms' regressions on the interest vector.

    Args:
        config: the settings.
        store: keeps the regressions, for many workers; None: they are in memory.

    Example:
        >>> policy, time_E = NeuralLinear(), np.zeros(400, np.int64)
        >>> vector_ED = np.tile([[1.0], [-1.0]], (200, 1)).astype(np.float32)
        >>> liked_E = 1.0 * (vector_ED[:, 0] > 0)  # item 7 pleases one half of the users
        >>> policy.learn(
        ...     Feedback(np.full(400, 7), liked_E, time_E, np.full(400, 0.5), vector_ED=vector_ED)
        ... )
        >>> slate = Slate.plain(np.array([7]))
        >>> [policy.expected(slate, Context("r", 0, vector_D=np.array([v]))).round(2).tolist()
        ...  for v in (1.0, -1.0)]
        [[1.0], [0.0]]
    """

    name: ClassVar[str] = "neural-linear"

    def __init__(
        self,
        config: NeuralLinearConfig = NeuralLinearConfig(),
        *,
        store: StateStore | None = None,
    ) -> None:
        self.config, self._store = config, store
        self._held: ArmRegressions | None = None

    @property
    def as_of(self) -> int:
        """Latest event time that was learned from, microseconds; -1 for nothing."""
        arms = self._arms
        return -1 if arms is None else arms.now()

    @property
    def _arms(self) -> ArmRegressions | None:
        """The regressions; None while nobody has learned."""
        if self._held is None and self._store is not None:
            width = SharedRegressions.width_in(self._store)
            self._held = None if width is None else self._made(width)
        return self._held

    def _made(self, width: int) -> ArmRegressions:
        if self._store is None:
            return ArmRegressions(self.config, width)
        return SharedRegressions(self.config, width, store=self._store)

    def judge(self, slate: Slate, context: Context) -> Judgement:
        """Judge a request.

        Raises:
            DataError: the context's vector is of another width than learned from, or infinite.
        """
        config = self.config
        arms = self._arms
        if arms is None:
            arms = ArmRegressions(
                config, 1 if context.vector_D is None else len(context.vector_D) + 1
            )
        zero_1D = np.zeros((1, arms.width - 1), np.float32)
        given = zero_1D if context.vector_D is None else np.asarray(context.vector_D)[None]
        vector_V = _with_intercept(given, arms.width)[0]
        own_N, spread_N, noise_N = arms.moments(slate.item_N, vector_V)
        mean_N, spread_N = leaned(own_N, spread_N, config.prior, slate)
        rng = derive(config.seed, "neural-linear", context.request_id)
        normal_NM = rng.normal(size=(len(slate), config.draws))
        # a draw belongs to the item, whatever its place in the slate
        place_N = np.empty(len(slate), np.int64)
        place_N[np.argsort(slate.item_N)] = np.arange(len(slate))
        deviation_N = config.inflation * noise_N * spread_N
        return judged(slate, mean_N, mean_N + normal_NM[place_N].T * deviation_N, config)

    def learn(self, feedback: Feedback) -> None:
        """See `Policy.learn`.

        Raises:
            DataError: besides, vectors are missing, of another width, or infinite.
        """
        check_feedback(feedback)
        vector_ED = feedback.vector_ED
        if vector_ED is None or np.ndim(vector_ED) != 2 or len(vector_ED) != len(feedback):
            shape = None if vector_ED is None else np.shape(vector_ED)
            raise DataError(
                f"feedback of {len(feedback)} rows has vectors {shape}; neural-linear needs [rows, "
                "width], the users' interest vectors: keep them with the decision"
            )
        arms = self._arms
        width = vector_ED.shape[1] + 1 if arms is None else arms.width
        vector_EV = _with_intercept(vector_ED, width)
        if arms is None:
            arms = self._held = self._made(width)
        item_E, time_E = np.asarray(feedback.item_E), np.asarray(feedback.time_E)
        reward_E = np.asarray(feedback.reward_E, np.float64)
        arms.add(item_E, vector_EV, reward_E, time_E, source=feedback.source)

    def save(self, writer: Writer) -> None:
        """Write the settings and the regressions."""
        save_config(writer, self.config)
        arms = self._arms
        width = 0 if arms is None else arms.width
        arrays = {} if arms is None else arms.arrays()
        writer.arrays(_FILE, {"width": np.array([width]), **arrays})

    @classmethod
    def load(cls, artifact: Artifact) -> Self:
        """Read what `save` wrote; the regressions are in memory then."""
        policy, arrays = cls(load_config(artifact, NeuralLinearConfig)), artifact.arrays(_FILE)
        if width := int(arrays["width"][0]):
            policy._held = ArmRegressions.from_arrays(policy.config, width, arrays)
        return policy


def _with_intercept(vector_ED: np.ndarray, width: int) -> np.ndarray:
    """Vectors after a leading 1; rows that hold a NaN are at zero. float64 [E, V]."""
    vector_ED = np.asarray(vector_ED, np.float64)
    if vector_ED.ndim != 2 or vector_ED.shape[1] + 1 != width:
        raise DataError(
            f"interest vectors have shape {vector_ED.shape}; they must be [rows, {width - 1}]"
        )
    if np.isinf(vector_ED).any():
        raise DataError(
            "an interest vector is infinite; pass None or NaN for one that is not known"
        )
    vector_EV = np.ones((len(vector_ED), width))
    unknown_E = np.isnan(vector_ED).any(axis=1)
    vector_EV[:, 1:] = vector_ED
    vector_EV[unknown_E, 1:] = 0.0
    return vector_EV
