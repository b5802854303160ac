"""beta*-IPS: inverse propensity scoring less the baseline that leaves the least variance.

    V = beta + (1/n) sum_b w_b (r_b - beta),        beta* = E[(w^2 - w) r] / E[w^2 - w]

(Gupta, Jeunen, Oosterhuis and de Rijke, RecSys 2024, arXiv 2405.05736; Jeunen and Gupta, SIGIR 2026,
arXiv 2602.14914.) Any fixed beta leaves IPS unbiased because E[w] = 1; beta* is the one of least
variance. It is estimated from the same rounds, which costs a bias of order 1/n.
"""

from __future__ import annotations

from muma.evaluation.off_policy.estimator import Rounds, Terms


class BetaIPS:
    """Inverse propensity scoring with the optimal baseline; `parameter` is beta*.

    Example:
        >>> import numpy as np
        >>> from muma.evaluation.off_policy.estimator import view
        >>> from muma.evaluation.off_policy.logged import Logged
        >>> logged = Logged(np.array([0, 1]), np.array([2.0, 2.0]), np.array([0.5, 0.5]), 2)
        >>> BetaIPS().terms(view(logged, np.array([[0.9, 0.1]] * 2))).value
        2.0
    """

    name = "beta*-IPS"
    needs_model = False
    consistent = True
    per_answer = False

    def terms(self, rounds: Rounds) -> Terms:
        """The baseline, and weight times what the reward is above it."""
        weight_B, reward_B = rounds.weight_B, rounds.logged.reward_B
        excess_B = weight_B * (weight_B - 1)
        total = float(excess_B.sum())
        # equal policies leave nothing to correct
        beta = float(excess_B @ reward_B) / total if total > 1e-12 * len(reward_B) else 0.0
        return Terms(
            beta + weight_B * (reward_B - beta),
            weight_B=weight_B,
            parameter=beta,
            chosen=True,
            weight_cap=float("nan"),
        )
