"""Clipped inverse propensity scoring: no round counts more than `clip` times.

    V = (1/n) sum_b min(w_b, clip) r_b

(Ionides, JCGS 2008; Bottou et al., JMLR 2013.) Less variance; where weights are cut, the estimate
leans towards 0 (downwards for rewards above 0).
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.evaluation.off_policy.estimator import Rounds, Terms
from muma.evaluation.off_policy.tuning import choose, weight_grid


class ClippedIPSConfig(Config):
    """Settings of `ClippedIPS`.

    Attributes:
        clip: largest weight; None: chosen on the log among quantiles of the weights by estimated
            mean squared error (`tuning.choose`).
    """

    clip: float | None = Field(default=None, gt=0)


class ClippedIPS:
    """Inverse propensity scoring with capped weights; `parameter` is the cap.

    Example:
        >>> import numpy as np
        >>> from muma.evaluation.off_policy.estimator import view
        >>> from muma.evaluation.off_policy.logged import Logged
        >>> logged = Logged(np.array([0, 1]), np.array([1.0, 1.0]), np.array([0.5, 0.5]), 2)
        >>> rounds = view(logged, np.array([[0.1, 0.9]] * 2))
        >>> round(ClippedIPS(ClippedIPSConfig(clip=1.0)).terms(rounds).value, 6)
        0.6
    """

    name = "clipped IPS"
    needs_model = False
    consistent = False
    per_answer = False

    def __init__(self, config: ClippedIPSConfig = ClippedIPSConfig()) -> None:
        self.config = config

    def terms(self, rounds: Rounds) -> Terms:
        """Capped weight times reward."""
        if self.config.clip is not None:
            return _terms(rounds, self.config.clip)
        return choose(
            weight_grid(rounds.weight_B), lambda clip: _terms(rounds, clip), rounds.logged
        )


def _terms(rounds: Rounds, clip: float) -> Terms:
    weight_B = np.minimum(rounds.weight_B, clip)
    return Terms(
        weight_B * rounds.logged.reward_B, weight_B=weight_B, parameter=clip, weight_cap=clip
    )
