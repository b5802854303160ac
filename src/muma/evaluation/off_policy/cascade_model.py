"""Predicted rewards from a slot to the end of its answer, for `CascadeDR`.

    q_k learns  r_k + sum_a pi(a | x, a_1..k) q_{k+1}(x, a),        from the last slot to the first

(Kiyohara et al., WSDM 2022, sec. 4.2.) What q is shown of the slots above is what the context holds.

Shape: B rounds, A actions.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from muma.evaluation.off_policy.logged import Logged, check, check_target
from muma.evaluation.off_policy.reward_model import RewardModel, deal
from muma.evaluation.off_policy.slates import slates_of
from muma.progress import track


def cross_fit_to_end(
    model: RewardModel, logged: Logged, target_BA: np.ndarray, *, folds: int = 3, seed: int = 0
) -> np.ndarray:
    """Predictions [B, A] of the rewards from each slot on, in which no unit saw its own rewards.

    Args:
        model: fitted for every slot and fold; sums of rewards leave [0, 1], so `RidgeReward`.
        logged: the past, with answers and positions.
        target_BA: the policy that is judged, given the slots before, [B, A].
        folds: number of folds.
        seed: deals the folds.

    Raises:
        ConfigError: `folds` is out of range.
        DataError: the log or the target cannot be used.
    """
    check(logged)
    check_target(target_BA, logged)
    slates = slates_of(logged)
    count, slots = slates.shape
    fold_B = deal(logged, folds=folds, seed=seed)
    prediction_BA = np.empty((len(logged), logged.n_actions))
    for fold in track(range(folds), label="Fitting the cascade's reward model"):
        later_S = np.zeros(count)
        for slot in reversed(range(slots)):
            here_B = slates.rank_B == slot
            known_B = here_B & (fold_B != fold)
            if not known_B.any():
                # too few answers are this long: nothing is known of what follows
                prediction_BA[here_B & (fold_B == fold)] = 0.0
                continue
            to_end_B = logged.reward_B + later_S[slates.slate_B]
            fitted = model.fit(replace(logged, reward_B=to_end_B).rows(known_B))
            predicted_ba = fitted.predict(logged.rows(here_B))
            expected_b = np.einsum("ba,ba->b", target_BA[here_B], predicted_ba)
            later_S = np.zeros(count)
            later_S[slates.slate_B[here_B]] = expected_b
            held_b = fold_B[here_B] == fold
            prediction_BA[np.flatnonzero(here_B)[held_b]] = predicted_ba[held_b]
    return prediction_BA
