"""A softmax policy whose scores are bilinear in context and action features.

    s(x, a) = [1, x~] W z_a,     pi(a | x) = (1 - A floor) exp s(x, a) / sum_b exp s(x, b) + floor

x~ is the context, standardised by the rounds it was learned on; z_a are the action's features, by
default one-hot, which gives every action weights of its own. The softmax runs over the actions that
`known_A` names: what was never shown can be valued by its features only, and the floor is all that one
without any gets.

Shape: B rounds, A actions, F features of the context, D features of an action, G = F + 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import softmax

from muma.artifact import Artifact, Writer
from muma.errors import ConfigError, DataError

_FILE = "softmax.npz"


@dataclass(frozen=True)
class LinearSoftmax:
    """The policy: probabilities for any context, from arrays alone.

    Attributes:
        weight_GD: W, float64 [F + 1, D]; the first row belongs to the constant.
        action_AD: features of the actions, float64 [A, D].
        mean_F: of the context in learning, float64 [F].
        scale_F: its standard deviation, above 0, float64 [F].
        floor: least probability of any action, in [0, 1 / A].
        known_A: actions that can be valued, boolean [A]; None for all.

    Raises:
        DataError: the shapes do not fit together, a value is not finite, or no action is known.
        ConfigError: the floor is outside [0, 1 / A].

    Example:
        >>> policy = LinearSoftmax.uniform(action_AD=np.eye(4), context_BF=np.ones((3, 2)))
        >>> policy.probabilities(np.array([[7.0, -1.0]])).tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """

    weight_GD: np.ndarray
    action_AD: np.ndarray
    mean_F: np.ndarray
    scale_F: np.ndarray
    floor: float = 0.0
    known_A: np.ndarray | None = None

    def __post_init__(self) -> None:
        arrays = (self.weight_GD, self.action_AD, self.mean_F, self.scale_F)
        wanted = (len(self.mean_F) + 1, self.action_AD.shape[-1])
        if self.action_AD.ndim != 2 or self.weight_GD.shape != wanted:
            raise DataError(
                f"weights are {self.weight_GD.shape} and action features {self.action_AD.shape} for "
                f"{len(self.mean_F)} context features; weights must be {wanted}"
            )
        if not all(np.isfinite(array).all() for array in arrays) or (self.scale_F <= 0).any():
            raise DataError(
                "a weight, feature, mean or scale is not finite, or a scale is not above 0"
            )
        if self.known_A is not None and (
            self.known_A.shape != (self.n_actions,) or not self.known_A.any()
        ):
            raise DataError(f"known actions are {self.known_A}; one of {self.n_actions} at least")
        if not 0 <= self.floor * self.n_actions <= 1:
            raise ConfigError(
                f"floor is {self.floor}; allowed is 0 to 1 / {self.n_actions} actions"
            )

    @classmethod
    def uniform(
        cls,
        *,
        action_AD: np.ndarray,
        context_BF: np.ndarray,
        floor: float = 0.0,
        known_A: np.ndarray | None = None,
    ) -> LinearSoftmax:
        """All weights 0: the start of learning, with the context's mean and scale taken in."""
        context_BF = np.asarray(context_BF, np.float64)
        if not np.isfinite(context_BF).all():
            raise DataError("a context feature is not finite; fill or drop it first")
        scale_F = context_BF.std(axis=0)
        return cls(
            np.zeros((context_BF.shape[1] + 1, action_AD.shape[1])),
            np.asarray(action_AD, np.float64),
            context_BF.mean(axis=0),
            np.where(scale_F > 0, scale_F, 1.0),
            floor,
            known_A,
        )

    @property
    def n_actions(self) -> int:
        """A, actions there are."""
        return len(self.action_AD)

    def inputs(self, context_BF: np.ndarray) -> np.ndarray:
        """The constant and the standardised context, float64 [B, F + 1].

        Raises:
            DataError: the number of features is another, or a value is not finite.
        """
        context_BF = np.asarray(context_BF, np.float64)
        if context_BF.ndim != 2 or context_BF.shape[1] != len(self.mean_F):
            raise DataError(
                f"the context is {context_BF.shape}; the policy learned on {len(self.mean_F)} features"
            )
        if not np.isfinite(context_BF).all():
            raise DataError("a context feature is not finite; fill or drop it first")
        scaled_BF = (context_BF - self.mean_F) / self.scale_F
        return np.concatenate([np.ones((len(scaled_BF), 1)), scaled_BF], axis=1)

    def probabilities(self, context_BF: np.ndarray) -> np.ndarray:
        """Probability of each action in each round, float64 [B, A]; rows sum to 1.

        Raises:
            DataError: as `inputs`.
        """
        score_BA = self.inputs(context_BF) @ self.weight_GD @ self.action_AD.T
        if self.known_A is not None:
            score_BA[:, ~self.known_A] = -np.inf
        return (1 - self.n_actions * self.floor) * softmax(score_BA, axis=1) + self.floor

    def save(self, writer: Writer) -> None:
        """Write the arrays."""
        names = ("weight_GD", "action_AD", "mean_F", "scale_F", "known_A")
        arrays = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        writer.arrays(_FILE, {**arrays, "floor": np.array(self.floor)})

    @classmethod
    def load(cls, artifact: Artifact) -> Self:
        """Read what `save` wrote.

        Raises:
            ArtifactError: the file is missing.
        """
        arrays = artifact.arrays(_FILE)
        return cls(floor=float(arrays.pop("floor")), **arrays)
