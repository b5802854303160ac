"""Windows of a world that drifts on command: users with habits, a linear model that is right at first.

Shape: N events, F features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from muma.ranking.drift.window import Window

CATEGORY = 4  # the feature whose numbers are names
SPARSE = 5  # the feature that is missing in a tenth of the events
DISCRETE = 6  # the feature that takes few values
MOVED = 8  # the feature whose mean is shifted


@dataclass(frozen=True)
class DriftWorld:
    """A world and how far it has drifted; all zeros is the world of the reference.

    Attributes:
        features: F, at least 10.
        per_user: events of a user; they share a part of each feature and of the log-odds.
        habit: share of a feature's variance that belongs to the user.
        mean: shift of one feature, in its standard deviations.
        missing: rise of one feature's missing share, 0 to 0.9.
        mix: share of one category's events that move to another category, 0 to 1.
        label: relative change of the label's rate that no feature tells.
    """

    features: int = 20
    per_user: int = 10
    habit: float = 0.3
    mean: float = 0.0
    missing: float = 0.0
    mix: float = 0.0
    label: float = 0.0

    def window(self, n: int, rng: np.random.Generator) -> Window:
        """Draw `n` events of new users."""
        users = -(-n // self.per_user)
        user_N = np.repeat(np.arange(users), self.per_user)[:n]
        own_NF = rng.normal(size=(users, self.features))[user_N] * np.sqrt(self.habit)
        value_NF = own_NF + rng.normal(size=(n, self.features)) * np.sqrt(1 - self.habit)
        value_NF[:, DISCRETE] = np.round(value_NF[:, DISCRETE])
        value_NF[:, CATEGORY] = np.clip(np.floor(value_NF[:, CATEGORY] + 3), 0, 5)
        moves_N = (value_NF[:, CATEGORY] == 2) & (rng.random(n) < self.mix)
        value_NF[moves_N, CATEGORY] = 5
        value_NF[:, MOVED] += self.mean
        value_NF[rng.random(n) < 0.1 + self.missing, SPARSE] = np.nan
        weight_F = np.linspace(0.4, -0.4, self.features)
        centre_F = np.where(np.arange(self.features) == CATEGORY, 2.5, 0.0)
        part_NF = np.nan_to_num((value_NF - centre_F) * weight_F)
        probability_N = expit(part_NF.sum(axis=1) - 1.0)
        chance_N = np.clip(probability_N * (1 + self.label), 0, 1)
        return Window(
            columns=tuple(f"f{f}" for f in range(self.features)),
            value_NF=value_NF.astype(np.float32),
            cluster_N=user_N,
            part_NF=part_NF,
            probability_N=probability_N,
            label_N=(rng.random(n) < chance_N).astype(np.float64),
        )

    def stream(self, n: int, rng: np.random.Generator, *, most: int) -> Iterator[Window]:
        """Windows of `n` events, until `most` events are out."""
        for _ in range(most // n):
            yield self.window(n, rng)
