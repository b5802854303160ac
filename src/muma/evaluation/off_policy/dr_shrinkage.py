"""Doubly robust with optimistic shrinkage: large weights are bent down, the largest most.

    V = (1/n) sum_b [ sum_a pi(a | x_b) q(x_b, a) + v_b (r_b - q(x_b, a_b)) ],   v = l w / (w^2 + l)

(Su, Dimakopoulou, Krishnamurthy and Dudik, ICML 2020, eq. 6.) With shrinkage l = inf it is DR, with 0
the direct method; no weight is above sqrt(l) / 2.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.evaluation.off_policy.estimator import Rounds, Terms
from muma.evaluation.off_policy.tuning import choose


class ShrunkDRConfig(Config):
    """Settings of `ShrunkDR`.

    Attributes:
        shrinkage: l above; None: chosen on the log by estimated mean squared error.
    """

    shrinkage: float | None = Field(default=None, ge=0)


class ShrunkDR:
    """Doubly robust with optimistic shrinkage; `parameter` is l.

    Example:
        >>> import numpy as np
        >>> from muma.evaluation.off_policy.estimator import view
        >>> from muma.evaluation.off_policy.logged import Logged
        >>> logged = Logged(np.array([0]), np.array([1.0]), np.array([0.5]), 2)
        >>> rounds = view(logged, np.full((1, 2), 0.5), prediction_BA=np.array([[0.2, 0.4]]))
        >>> round(ShrunkDR(ShrunkDRConfig(shrinkage=1.0)).terms(rounds).value, 6)
        0.7
    """

    name = "DR, shrunk"
    needs_model = True
    consistent = False
    per_answer = False

    def __init__(self, config: ShrunkDRConfig = ShrunkDRConfig()) -> None:
        self.config = config

    def terms(self, rounds: Rounds) -> Terms:
        """Expected reward plus shrunk weight times residual."""
        if self.config.shrinkage is not None:
            return _terms(rounds, self.config.shrinkage)
        largest = max(float(rounds.weight_B.max()), 1.0)
        grid = [float("inf"), *(largest**2 * np.logspace(2, -4, 19)), 0.0]
        return choose(grid, lambda shrinkage: _terms(rounds, shrinkage), rounds.logged)


def _terms(rounds: Rounds, shrinkage: float) -> Terms:
    weight_B = rounds.weight_B
    if shrinkage == 0:
        weight_B = np.zeros_like(weight_B)
    elif np.isfinite(shrinkage):
        weight_B = weight_B / (weight_B * weight_B / shrinkage + 1)
    return Terms(
        rounds.expected_B + weight_B * rounds.residual_B,
        weight_B=weight_B if shrinkage > 0 else None,
        parameter=shrinkage,
        weight_cap=float(np.sqrt(shrinkage) / 2),
        residual=True,
    )
