"""Item-position inverse propensity scoring: each slot weighed by itself, summed over the answer.

    V = (1/S) sum_s sum_k w_sk r_sk,        w_sk = pi(a_sk at k | x_s) / p_sk

(Li et al., KDD 2018.) The value is per answer. Unbiased where a slot's reward depends on its own item
and position only, and the probabilities are those of an item in its slot whatever stands above
(marginal); with probabilities given the slots before, use `CascadeDR`.
"""

from __future__ import annotations

from muma.evaluation.off_policy.estimator import Rounds, Terms
from muma.evaluation.off_policy.slates import slates_of


class ItemPositionIPS:
    """Sum over slots of weight times reward, per answer.

    Example:
        >>> import numpy as np
        >>> from muma.evaluation.off_policy.estimator import view
        >>> from muma.evaluation.off_policy.logged import Logged
        >>> logged = Logged(np.array([0, 1]), np.array([1.0, 1.0]), np.array([0.5, 0.5]), 2,
        ...                 position_B=np.array([0, 1]), slate_B=np.array([0, 0]))
        >>> ItemPositionIPS().terms(view(logged, np.array([[0.25, 0.75], [0.75, 0.25]]))).value
        1.0
    """

    name = "item-position IPS"
    needs_model = False
    consistent = True
    per_answer = True

    def terms(self, rounds: Rounds) -> Terms:
        """Weight times reward; an answer counts once."""
        weight_B = rounds.weight_B
        return Terms(
            weight_B * rounds.logged.reward_B,
            denominator_B=slates_of(rounds.logged).first_B,
            weight_B=weight_B,
            weight_cap=float("nan"),
        )
