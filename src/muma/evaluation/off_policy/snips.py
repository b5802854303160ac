"""Self-normalised inverse propensity scoring: the weighted mean of the rewards.

    V = sum_b w_b r_b / sum_b w_b

(Swaminathan and Joachims, NeurIPS 2015.) Consistent, not unbiased; never outside the rewards' range,
unmoved by a constant added to all rewards, and usually much steadier than IPS.
"""

from __future__ import annotations

from muma.evaluation.off_policy.estimator import Rounds, Terms


class SNIPS:
    """Self-normalised inverse propensity scoring; NaN where no logged action could be the target's.

    Example:
        >>> import numpy as np
        >>> from muma.evaluation.off_policy.estimator import view
        >>> from muma.evaluation.off_policy.logged import Logged
        >>> logged = Logged(np.array([0, 0]), np.array([1.0, 0.0]), np.array([0.5, 0.5]), 2)
        >>> SNIPS().terms(view(logged, np.array([[0.25, 0.75]] * 2))).value
        0.5
    """

    name = "SNIPS"
    needs_model = False
    consistent = True
    per_answer = False

    def terms(self, rounds: Rounds) -> Terms:
        """Weight times reward over weight."""
        weight_B = rounds.weight_B
        return Terms(
            weight_B * rounds.logged.reward_B,
            denominator_B=weight_B,
            weight_B=weight_B,
            weight_cap=float("nan"),
        )
