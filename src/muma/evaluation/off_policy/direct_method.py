"""Direct method: what a reward model expects of the target policy.

    V = (1/n) sum_b sum_a pi(a | x_b) q(x_b, a)

(Dudik, Langford and Li, ICML 2011, eq. 1.) Little variance, and all of the model's bias: the interval
says how sure the mean of the predictions is, not how right the model is.
"""

from __future__ import annotations

from muma.evaluation.off_policy.estimator import Rounds, Terms


class DirectMethod:
    """The reward model's word alone.

    Example:
        >>> import numpy as np
        >>> from muma.evaluation.off_policy.estimator import view
        >>> from muma.evaluation.off_policy.logged import Logged
        >>> logged = Logged(np.array([0]), np.array([1.0]), np.array([0.5]), 2)
        >>> q = np.array([[0.2, 0.4]])
        >>> round(DirectMethod().terms(view(logged, np.full((1, 2), 0.5), prediction_BA=q)).value, 6)
        0.3
    """

    name = "DM"
    needs_model = True
    consistent = False
    per_answer = False

    def terms(self, rounds: Rounds) -> Terms:
        """Expected reward under the model."""
        return Terms(rounds.expected_B, weight_cap=0.0, residual=True)
