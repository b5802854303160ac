"""Inverse propensity scoring: rewards weighed by how much more often the target would act so.

    V = (1/n) sum_b w_b r_b

(Horvitz and Thompson, JASA 1952; the paper's eq. 13 divided by all rounds rather than by those that
chose the item, which is what makes it unbiased.) Unbiased with true propensities and full support;
its spread grows with the largest weights.
"""

from __future__ import annotations

from muma.evaluation.off_policy.estimator import Rounds, Terms


class IPS:
    """Inverse propensity scoring.

    Example:
        >>> import numpy as np
        >>> from muma.evaluation.off_policy.estimator import view
        >>> from muma.evaluation.off_policy.logged import Logged
        >>> logged = Logged(np.array([0, 1]), np.array([1.0, 0.0]), np.array([0.5, 0.5]), 2)
        >>> IPS().terms(view(logged, np.array([[0.25, 0.75]] * 2))).value
        0.25
    """

    name = "IPS"
    needs_model = False
    consistent = True
    per_answer = False

    def terms(self, rounds: Rounds) -> Terms:
        """Weight times reward."""
        weight_B = rounds.weight_B
        return Terms(weight_B * rounds.logged.reward_B, weight_B=weight_B)
