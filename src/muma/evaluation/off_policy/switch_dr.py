"""Switch-DR: residuals count only where their weights are small; elsewhere the model speaks alone.

    V = (1/n) sum_b [ sum_a pi(a | x_b) q(x_b, a) + w_b 1[w_b <= threshold] (r_b - q(x_b, a_b)) ]

(Wang, Agarwal and Dudik, ICML 2017.) With threshold inf it is DR, with 0 the direct method.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.evaluation.off_policy.estimator import Rounds, Terms
from muma.evaluation.off_policy.tuning import choose, weight_grid


class SwitchDRConfig(Config):
    """Settings of `SwitchDR`.

    Attributes:
        threshold: largest weight whose residual counts; None: chosen on the log by estimated mean
            squared error.
    """

    threshold: float | None = Field(default=None, ge=0)


class SwitchDR:
    """Doubly robust where weights are small; `parameter` is the threshold.

    Example:
        >>> import numpy as np
        >>> from muma.evaluation.off_policy.estimator import view
        >>> from muma.evaluation.off_policy.logged import Logged
        >>> logged = Logged(np.array([0]), np.array([1.0]), np.array([0.25]), 2)
        >>> rounds = view(logged, np.full((1, 2), 0.5), prediction_BA=np.array([[0.2, 0.4]]))
        >>> round(SwitchDR(SwitchDRConfig(threshold=1.0)).terms(rounds).value, 6)
        0.3
    """

    name = "switch-DR"
    needs_model = True
    consistent = False
    per_answer = False

    def __init__(self, config: SwitchDRConfig = SwitchDRConfig()) -> None:
        self.config = config

    def terms(self, rounds: Rounds) -> Terms:
        """Expected reward plus small weight times residual."""
        if self.config.threshold is not None:
            return _terms(rounds, self.config.threshold)
        grid = [*weight_grid(rounds.weight_B), 0.0]
        return choose(grid, lambda threshold: _terms(rounds, threshold), rounds.logged)


def _terms(rounds: Rounds, threshold: float) -> Terms:
    weight_B = np.where(rounds.weight_B <= threshold, rounds.weight_B, 0.0)
    return Terms(
        rounds.expected_B + weight_B * rounds.residual_B,
        weight_B=weight_B if threshold > 0 else None,
        parameter=threshold,
        weight_cap=threshold,
        residual=True,
    )
