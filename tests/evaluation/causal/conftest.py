"""Worlds of known effect."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import expit

from muma.evaluation.causal.study import Study, study_of
from muma.rng import derive


@dataclass(frozen=True)
class World:
    study: Study
    outcome_N: np.ndarray
    chance_N: np.ndarray
    att: float
    ate: float
    ato: float


@pytest.fixture(scope="session")
def make_world():
    """Confounded by x0 and x1; the effect is 2 + x0, so the three estimands differ."""

    def make(seed, *, units=1000, curved=False, strength=0.8):
        rng = derive(seed, "causal world")
        x_NF = rng.normal(size=(units, 3))
        odds_N = strength * (x_NF[:, 0] + x_NF[:, 1] * 0.5) - 0.3
        chance_N = expit(odds_N)
        treated_N = rng.random(units) < chance_N
        base_N = 1.5 * x_NF[:, 0] - x_NF[:, 1] + (x_NF[:, 0] ** 2 if curved else 0.0)
        effect_N = 2 + x_NF[:, 0]
        outcome_N = base_N + treated_N * effect_N + rng.normal(size=units)
        # the truth for the population, from many draws of the covariate that modifies the effect
        z = np.linspace(-6, 6, 2001)
        w = np.linspace(-6, 6, 401)
        grid = expit(strength * (z[:, None] + 0.5 * w) - 0.3)
        mass = np.exp(-(z[:, None] ** 2) / 2 - w**2 / 2)
        truth = [
            float(np.sum((2 + z[:, None]) * mass * h) / np.sum(mass * h))
            for h in (grid, np.ones_like(grid), grid * (1 - grid))
        ]
        return World(study_of(treated_N, x_NF, ["a", "b", "c"]), outcome_N, chance_N, *truth)

    return make
