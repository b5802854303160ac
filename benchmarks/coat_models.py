"""Matrix factorisation of ratings with a weight for each, and logistic propensities; plain NumPy.

    min  sum W_ui (r_ui - mu - b_u - b_i - p_u . q_i)^2 + l2 (b_u^2 + b_i^2 + |p_u|^2 + |q_i|^2)

by alternating least squares; weights have mean 1 over the given ratings, so that `l2` means the same with
and without propensities (Schnabel et al., ICML 2016, eq. 9).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from muma.rng import derive


def weights(given_UI, propensity_UI=None):
    """1 / p of the given ratings, mean 1; 0 for the others."""
    weight_UI = given_UI.astype(float) if propensity_UI is None else given_UI / propensity_UI
    return weight_UI * (given_UI.sum() / weight_UI.sum())


def factorise(rating_UI, weight_UI, *, width, l2, seed, rounds=10):
    """Predicted ratings of all pairs, in 1 to 5."""
    rng = derive(seed, "coat-factors")
    users, items = rating_UI.shape
    mean = (weight_UI * rating_UI).sum() / weight_UI.sum()
    user = [np.zeros(users), rng.normal(size=(users, width)) * 0.1]
    item = [np.zeros(items), rng.normal(size=(items, width)) * 0.1]
    for _ in range(rounds):
        user = _solve(weight_UI, rating_UI - mean, *item, l2)
        item = _solve(weight_UI.T, rating_UI.T - mean, *user, l2)
    guess_UI = mean + user[0][:, None] + item[0][None, :] + user[1] @ item[1].T
    return np.clip(guess_UI, 1, 5)


def _solve(weight_RC, target_RC, bias_C, factor_CD, l2):
    """Best bias and factors of the rows, given those of the columns."""
    design_CE = np.concatenate([np.ones((len(bias_C), 1)), factor_CD], axis=1)
    width = design_CE.shape[1]
    outer_CP = (design_CE[:, :, None] * design_CE[:, None, :]).reshape(len(bias_C), -1)
    gram_REE = (weight_RC @ outer_CP).reshape(-1, width, width) + l2 * np.eye(width)
    right_RE = (weight_RC * (target_RC - bias_C)) @ design_CE
    found_RE = np.linalg.solve(gram_REE, right_RE[..., None])[..., 0]
    return [found_RE[:, 0], found_RE[:, 1:]]


def logistic_propensities(given_UI, user_UF, item_IG, *, l2=1.0):
    """Chance of a rating to be given by features of user, item and their products."""
    users, items = given_UI.shape
    pair_NP = np.einsum("uf,ig->uifg", user_UF, item_IG).reshape(users * items, -1)
    design_NP = np.concatenate(
        [np.repeat(user_UF, items, axis=0), np.tile(item_IG, (users, 1)), pair_NP], axis=1
    )
    label_N = given_UI.ravel().astype(float)

    def loss(weight_P):
        eta_N = weight_P[0] + design_NP @ weight_P[1:]
        error_N = expit(eta_N) - label_N
        value = (
            np.logaddexp(0, eta_N).sum() - label_N @ eta_N + l2 / 2 * weight_P[1:] @ weight_P[1:]
        )
        slope_P = design_NP.T @ error_N + l2 * weight_P[1:]
        return value, np.concatenate([[error_N.sum()], slope_P])

    start_P = np.zeros(design_NP.shape[1] + 1)
    start_P[0] = np.log(label_N.mean() / (1 - label_N.mean()))
    found = minimize(loss, start_P, jac=True, method="L-BFGS-B", options={"maxiter": 300})
    return expit(found.x[0] + design_NP @ found.x[1:]).reshape(users, items)
