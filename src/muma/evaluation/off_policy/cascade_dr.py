"""Cascade doubly robust: users read from the top, so a slot's reward depends on the slots above.

    V = (1/S) sum_s sum_k [ W_{k-1} sum_a pi(a | x, a_1..k-1) q_k(x, a) + W_k (r_k - q_k(x, a_k)) ],
    W_k = product over j <= k of pi(a_j | x, a_1..j-1) / p_j

(Kiyohara et al., WSDM 2022, eq. 8.) The value is per answer; probabilities are given the slots before,
as `Decision` logs them. q_k predicts the rewards from slot k to the end (`cross_fit_to_end`); with
q = 0 it is the cascade's own IPS (McInerney et al., KDD 2020). Unbiased under the cascade assumption.
"""

from __future__ import annotations

from muma.evaluation.off_policy.estimator import Rounds, Terms
from muma.evaluation.off_policy.slates import slates_of


class CascadeDR:
    """Doubly robust slot by slot, with weights multiplied down the answer.

    Example:
        >>> import numpy as np
        >>> from muma.evaluation.off_policy.estimator import view
        >>> from muma.evaluation.off_policy.logged import Logged
        >>> logged = Logged(np.array([0, 1]), np.array([1.0, 1.0]), np.array([0.5, 0.5]), 2,
        ...                 position_B=np.array([0, 1]), slate_B=np.array([0, 0]))
        >>> rounds = view(logged, np.array([[0.25, 0.75], [0.0, 1.0]]), prediction_BA=np.zeros((2, 2)))
        >>> CascadeDR().terms(rounds).value
        1.5
    """

    name = "cascade-DR"
    needs_model = True
    consistent = True
    per_answer = True

    def terms(self, rounds: Rounds) -> Terms:
        """Expected rewards to the end under the weights above, plus weighted residual."""
        slates = slates_of(rounds.logged)
        before_B, through_B = slates.products(rounds.weight_B)
        # the residual's own target is the reward and what the next slot's expectation adds
        return Terms(
            before_B * rounds.expected_B + through_B * rounds.residual_B,
            denominator_B=slates.first_B,
            weight_B=through_B,
            weight_cap=float("nan"),
        )
