"""Doubly robust: the direct method, put right by the weighted residuals.

    V = (1/n) sum_b [ sum_a pi(a | x_b) q(x_b, a) + w_b (r_b - q(x_b, a_b)) ]

(Dudik, Langford and Li, ICML 2011.) Right if the propensities or the reward model are; with a
cross-fitted model and true propensities it is unbiased.
"""

from __future__ import annotations

from muma.evaluation.off_policy.estimator import Rounds, Terms


class DoublyRobust:
    """Direct method plus weighted residuals.

    Example:
        >>> import numpy as np
        >>> from muma.evaluation.off_policy.estimator import view
        >>> from muma.evaluation.off_policy.logged import Logged
        >>> logged = Logged(np.array([0]), np.array([1.0]), np.array([0.5]), 2)
        >>> q = np.array([[0.2, 0.4]])
        >>> round(DoublyRobust().terms(view(logged, np.full((1, 2), 0.5), prediction_BA=q)).value, 6)
        1.1
    """

    name = "DR"
    needs_model = True
    consistent = True
    per_answer = False

    def terms(self, rounds: Rounds) -> Terms:
        """Expected reward plus weight times residual."""
        weight_B = rounds.weight_B
        return Terms(
            rounds.expected_B + weight_B * rounds.residual_B, weight_B=weight_B, residual=True
        )
