"""Self-normalised doubly robust: residuals enter by their weighted mean.

    V = (1/n) sum_b sum_a pi(a | x_b) q(x_b, a) + sum_b w_b (r_b - q(x_b, a_b)) / sum_b w_b

(Kallus and Uehara, NeurIPS 2019; SNDR in Saito et al., Open Bandit Pipeline, 2021.) Consistent as DR is;
weights that are all too large or too small by one factor, as misstated propensities make them, cancel.
"""

from __future__ import annotations

import numpy as np

from muma.evaluation.off_policy.estimator import Rounds, Terms


class SelfNormalisedDR:
    """Direct method plus the weighted mean of residuals; NaN where all weights are 0.

    Terms are linearised: their mean is the estimate, their spread that of the sum of mean and ratio.

    Example:
        >>> from muma.evaluation.off_policy.estimator import view
        >>> from muma.evaluation.off_policy.logged import Logged
        >>> logged = Logged(np.array([0]), np.array([1.0]), np.array([0.25]), 2)
        >>> rounds = view(logged, np.full((1, 2), 0.5), prediction_BA=np.array([[0.2, 0.4]]))
        >>> round(SelfNormalisedDR().terms(rounds).value, 6)
        1.1
    """

    name = "SNDR"
    needs_model = True
    consistent = True
    per_answer = False

    def terms(self, rounds: Rounds) -> Terms:
        """Expected reward, mean residual, and the round's part in the error of the latter."""
        weight_B = rounds.weight_B
        total = float(weight_B.sum())
        mean = float(weight_B @ rounds.residual_B) / total if total else float("nan")
        relative_B = weight_B * (len(weight_B) / total) if total else np.zeros_like(weight_B)
        return Terms(
            rounds.expected_B + mean + relative_B * (rounds.residual_B - mean),
            weight_B=weight_B,
            weight_cap=float("nan"),
            residual=True,
        )
