"""Logistic regression by Newton's method, with what its standard errors need.

    maximise sum_i t_i eta_i - log(1 + exp(eta_i)) - l2 / 2 |b|^2 on standardised terms,  eta = a + x b

Without a penalty this is the maximum-likelihood fit that statsmodels and R's glm return.

Shape: N units, P terms, Q = P + 1 coefficients, the constant first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.special import expit

from muma.errors import DataError

_STEPS, _TOLERANCE = 100, 1e-9


@dataclass(frozen=True)
class LogisticFit:
    """A fitted model.

    Attributes:
        coefficient_Q: on the terms as given, the constant first.
        coefficient_error_Q: their standard errors from the inverse information.
        log_likelihood: of the fitted rows, in nats.
        centre_P, spread_P: means and standard deviations by which the terms were standardised.
        scaled_Q: coefficients on the standardised terms.
        information_QQ: negative second derivative there, penalty included.
    """

    coefficient_Q: np.ndarray
    coefficient_error_Q: np.ndarray
    log_likelihood: float
    centre_P: np.ndarray
    spread_P: np.ndarray
    scaled_Q: np.ndarray
    information_QQ: np.ndarray

    def design(self, value_NP: np.ndarray) -> np.ndarray:
        """The constant and the standardised terms, [N, Q]."""
        scaled_NP = (value_NP - self.centre_P) / self.spread_P
        return np.concatenate([np.ones((len(value_NP), 1)), scaled_NP], axis=1)

    def predict(self, value_NP: np.ndarray) -> np.ndarray:
        """Probability of 1, float64 [N], strictly between 0 and 1."""
        return expit(np.clip(self.design(value_NP) @ self.scaled_Q, -36.0, 36.0))


def fit_logistic(
    value_NP: np.ndarray,
    label_N: np.ndarray,
    *,
    l2: float = 0.0,
    weight_N: np.ndarray | None = None,
    start_Q: np.ndarray | None = None,
) -> LogisticFit:
    """Fit by Newton steps that are halved until the objective rises.

    Args:
        value_NP: terms [N, P], none spanned by the others and the constant unless `l2` > 0.
        label_N: 0 / 1 [N].
        l2: ridge penalty on the standardised coefficients, in units of rows; not on the constant.
        weight_N: weights of the rows; None for ones.
        start_Q: standardised coefficients to start from.

    Raises:
        DataError: the terms tell the two groups apart completely (there is no overlap), or the fit does
            not settle.

    Example:
        >>> x, t = np.array([[0.0], [0.0], [0.0], [1.0], [1.0]]), np.array([0, 0, 1, 1, 0])
        >>> fit_logistic(x, t).predict(np.array([[0.0], [1.0]])).round(6).tolist()
        [0.333333, 0.5]
    """
    label_N = np.asarray(label_N, np.float64)
    weight_N = np.ones(len(label_N)) if weight_N is None else np.asarray(weight_N, np.float64)
    centre_P, spread_P = value_NP.mean(axis=0), value_NP.std(axis=0)
    spread_P = np.where(spread_P > 0, spread_P, 1.0)
    x_NQ = np.concatenate([np.ones((len(label_N), 1)), (value_NP - centre_P) / spread_P], axis=1)
    penalty_Q = np.full(x_NQ.shape[1], float(l2))
    penalty_Q[0] = 0.0
    scaled_Q = np.zeros(x_NQ.shape[1]) if start_Q is None else np.array(start_Q, np.float64)

    def objective(b_Q: np.ndarray) -> float:
        eta_N = x_NQ @ b_Q
        likelihood = weight_N @ (label_N * eta_N - np.logaddexp(0.0, eta_N))
        return float(likelihood - 0.5 * penalty_Q @ b_Q**2)

    value = objective(scaled_Q)
    for _ in range(_STEPS):
        chance_N = expit(x_NQ @ scaled_Q)
        slope_Q = x_NQ.T @ (weight_N * (label_N - chance_N)) - penalty_Q * scaled_Q
        information_QQ = (x_NQ.T * (weight_N * chance_N * (1 - chance_N))) @ x_NQ
        information_QQ[np.diag_indices(len(penalty_Q))] += penalty_Q
        step_Q = _solved(information_QQ, slope_Q)
        length, gain = 1.0, float(slope_Q @ step_Q)
        while (new := objective(scaled_Q + length * step_Q)) < value - 1e-12 * abs(value):
            length /= 2
            if length < 1e-10:
                break
        scaled_Q, value = scaled_Q + length * step_Q, new
        if gain < _TOLERANCE * max(1.0, abs(value)) * 1e-3:
            break
    else:
        raise DataError(
            "the logistic model does not settle: a term tells the groups apart; leave terms out or set "
            "l2 above 0"
        )
    _refuse_separation(x_NQ @ scaled_Q, label_N, l2)
    chance_N = expit(x_NQ @ scaled_Q)
    information_QQ = (x_NQ.T * (weight_N * chance_N * (1 - chance_N))) @ x_NQ + np.diag(penalty_Q)
    back_QQ = np.diag(np.concatenate([[1.0], 1 / spread_P]))
    back_QQ[0, 1:] = -centre_P / spread_P
    variance_QQ = back_QQ @ _solved(information_QQ, np.eye(len(penalty_Q))) @ back_QQ.T
    return LogisticFit(
        back_QQ @ scaled_Q,
        np.sqrt(np.maximum(np.diag(variance_QQ), 0.0)),
        value + 0.5 * float(penalty_Q @ scaled_Q**2),
        centre_P,
        spread_P,
        scaled_Q,
        information_QQ,
    )


def _solved(matrix_QQ: np.ndarray, right: np.ndarray) -> np.ndarray:
    try:
        return np.asarray(cho_solve(cho_factor(matrix_QQ), right))
    except (LinAlgError, ValueError):
        return np.linalg.pinv(matrix_QQ, hermitian=True) @ right


def _refuse_separation(eta_N: np.ndarray, label_N: np.ndarray, l2: float) -> None:
    apart = eta_N[label_N == 1].min(initial=np.inf) - eta_N[label_N == 0].max(initial=-np.inf)
    if l2 == 0 and apart > 0:
        raise DataError(
            "no overlap: the terms tell treated and untreated apart completely, so nobody can be "
            "compared; leave out terms that the treatment decides"
        )
