"""The probability that each of several independent variables is the largest, by quadrature.

    P(i) = integral of f_i(y) prod_{j != i} F_j(y) dy

The line is cut into cells as wide as the narrowest density that is alive there, from the highest value
any variable can take down to where some variable surely lies above. In every cell each density is known
at Gauss-Legendre nodes; its polynomial through them gives the distribution functions, its values give
the probabilities. Beta variables are taken to log-odds, y = log(x / (1 - x)), where their density is
smooth and log-concave for all parameters and has no end points:

    f(y) = x^a (1 - x)^b / B(a, b)

The sum of P would be 1 if the quadrature were exact; how far it is off is an error that is measured with
every answer.

Shape: n variables, Q nodes a cell.
"""

from __future__ import annotations

import math

import numba
import numpy as np

_Q = 6
_DEPTH = 26.0  # a density is dropped below e^-26 of its peak
_CELL = 0.75  # width of a cell in local standard deviations
_MUCH_NARROWER = 0.3  # a density this much narrower than a cell gets cells of its own
_DONE = 1e-13  # probability left below, at which the walk ends
_ROUNDING = 1e-9  # of lgamma and the sums; what the error is never said to be below


def largest_normal(mean_n: np.ndarray, sd_n: np.ndarray) -> tuple[np.ndarray, float]:
    """Probability that each normal variable is the largest.

    Args:
        mean_n: means, float64 [n].
        sd_n: standard deviations, float64 [n], positive.

    Returns:
        Probabilities, float64 [n], and how far one may be off.

    Example:
        >>> p_n, _ = largest_normal(np.array([1.0, 0.0]), np.array([1.0, 1.0]))
        >>> p_n.round(6).tolist()  # Phi(1 / sqrt 2) is 0.760250
        [0.76025, 0.23975]
    """
    low_n = mean_n - math.sqrt(2 * _DEPTH) * sd_n
    high_n = mean_n + math.sqrt(2 * _DEPTH) * sd_n
    log_scale_n = -np.log(sd_n * math.sqrt(2 * math.pi))
    p_n = _integrate(False, mean_n, sd_n, log_scale_n, sd_n, low_n, high_n, *_RULE)
    return _normalised(p_n)


def largest_beta(a_n: np.ndarray, b_n: np.ndarray) -> tuple[np.ndarray, float]:
    """Probability that each Beta variable is the largest.

    Args:
        a_n: first parameters, float64 [n], positive.
        b_n: second parameters, float64 [n], positive.

    Returns:
        Probabilities, float64 [n], and how far one may be off.

    Example:
        >>> p_n, _ = largest_beta(np.array([2.0, 1.0]), np.array([1.0, 1.0]))
        >>> p_n.round(6).tolist()
        [0.666667, 0.333333]
    """
    log_scale_n, sd_n, low_n, high_n = _beta_shape(a_n, b_n)
    return _normalised(_integrate(True, a_n, b_n, log_scale_n, sd_n, low_n, high_n, *_RULE))


def _normalised(p_n: np.ndarray) -> tuple[np.ndarray, float]:
    total = float(p_n.sum())
    return p_n / total, max(10 * abs(1 - total), _ROUNDING)


def _rule() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes on [0, 1], their weights, and weights of the integrals from each node to 1."""
    node_Q, weight_Q = np.polynomial.legendre.leggauss(_Q)
    node_Q, weight_Q = (node_Q + 1) / 2, weight_Q / 2
    above_QQ = np.zeros((_Q, _Q))
    for r in range(_Q):
        others = np.delete(node_Q, r)
        basis = np.poly1d(others, r=True) / np.prod(node_Q[r] - others)
        area = basis.integ()
        above_QQ[:, r] = area(1.0) - area(node_Q)
    return node_Q, weight_Q, above_QQ


_RULE = _rule()


@numba.njit(cache=True, nogil=True)
def _softplus(y: float) -> float:
    return y + math.log1p(math.exp(-y)) if y > 0 else math.log1p(math.exp(y))


@numba.njit(cache=True, nogil=True)
def _expit(y: float) -> float:
    return 1.0 / (1.0 + math.exp(-y))


@numba.njit(cache=True, nogil=True)
def _beta_end(a: float, b: float, side: float) -> float:
    """Log-odds where the density is e^-_DEPTH of its peak, on one side of it; by Newton's method.

    The log density is concave, so that from the second step on every step comes from outside.
    """
    mode = math.log(a / b)
    peak = a * mode - (a + b) * _softplus(mode)
    y = mode + side / math.sqrt(a * b / (a + b))
    for _ in range(50):
        drop = peak - (a * y - (a + b) * _softplus(y)) - _DEPTH
        slope = (a + b) * _expit(y) - a
        step = drop / slope
        y -= step
        if abs(step) < 1e-3 * abs(y - mode):
            break
    return y


@numba.njit(cache=True, nogil=True)
def _beta_shape(
    a_n: np.ndarray, b_n: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Log of the density's constant, width of its tails, and its ends, in log-odds."""
    n = len(a_n)
    log_scale_n, sd_n, low_n, high_n = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    for i in range(n):
        a, b = a_n[i], b_n[i]
        log_scale_n[i] = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
        sd_n[i] = math.sqrt(1 / a + 1 / b + 1 / a**2 + 1 / b**2)
        low_n[i], high_n[i] = _beta_end(a, b, -1.0), _beta_end(a, b, 1.0)
    return log_scale_n, sd_n, low_n, high_n


@numba.njit(cache=True, nogil=True)
def _scale(
    beta: bool, first_n: np.ndarray, second_n: np.ndarray, sd_n: np.ndarray, i: int, y: float
) -> float:
    """Distance over which a log density bends by a half, at most its standard deviation."""
    sd = float(sd_n[i])
    if not beta:
        return sd
    x = _expit(y)
    bend = float(first_n[i] + second_n[i]) * x * (1.0 - x)
    return min(sd, 1.0 / math.sqrt(bend + 1e-300))


@numba.njit(cache=True, nogil=True)
def _cell(
    beta: bool,
    first_n: np.ndarray,
    second_n: np.ndarray,
    sd_n: np.ndarray,
    alive_n: np.ndarray,
    top: float,
) -> float:
    """Width of the cell that ends at `top`."""
    width = np.inf
    for m in range(len(alive_n)):
        i = int(alive_n[m])
        width = min(width, _scale(beta, first_n, second_n, sd_n, i, top))
    if beta:
        below = top - width
        for m in range(len(alive_n)):
            i = int(alive_n[m])
            width = min(width, _scale(beta, first_n, second_n, sd_n, i, below))
        width = min(width, max(1.0, 0.5 * abs(top)))  # the logistic bends within 1 of the middle
    return _CELL * width


@numba.njit(cache=True, nogil=True)
def _wake(
    beta: bool,
    first_n: np.ndarray,
    second_n: np.ndarray,
    sd_n: np.ndarray,
    high_n: np.ndarray,
    order_n: np.ndarray,
    n_alive: int,
    top: float,
) -> tuple[int, float]:
    """Number of densities alive in the cell that ends at `top`, and its width."""
    n = len(order_n)
    while n_alive < n and high_n[order_n[n_alive]] >= top:
        n_alive += 1
    width = _cell(beta, first_n, second_n, sd_n, order_n[:n_alive], top)
    while n_alive < n and high_n[order_n[n_alive]] > top - width:  # begins within the cell
        i = int(order_n[n_alive])
        if _scale(beta, first_n, second_n, sd_n, i, float(high_n[i])) < _MUCH_NARROWER * width:
            width = top - float(high_n[i])  # narrow cells only where they are needed
            break
        n_alive += 1
    return n_alive, min(width, _cell(beta, first_n, second_n, sd_n, order_n[:n_alive], top))


@numba.njit(cache=True, nogil=True)
def _densities(
    beta: bool,
    first_n: np.ndarray,
    second_n: np.ndarray,
    log_scale_n: np.ndarray,
    alive_n: np.ndarray,
    y_Q: np.ndarray,
    f_Qn: np.ndarray,
) -> None:
    """Densities of those alive at the nodes, in place."""
    for q in range(len(y_Q)):
        y = y_Q[q]
        plus = _softplus(y) if beta else 0.0
        for m in range(len(alive_n)):
            i = alive_n[m]
            if beta:
                log_f = first_n[i] * y - (first_n[i] + second_n[i]) * plus
            else:
                log_f = -0.5 * ((y - first_n[i]) / second_n[i]) ** 2
            f_Qn[q, m] = math.exp(log_f + log_scale_n[i])


@numba.njit(cache=True, nogil=True)
def _others(below_n: np.ndarray, n_alive: int, others_n: np.ndarray) -> None:
    """Product of all but each, in place, without a division."""
    product = 1.0
    for m in range(n_alive):
        others_n[m] = product
        product *= below_n[m]
    product = 1.0
    for m in range(n_alive - 1, -1, -1):
        others_n[m] *= product
        product *= below_n[m]


@numba.njit(cache=True, nogil=True)
def _integrate(
    beta: bool,
    first_n: np.ndarray,
    second_n: np.ndarray,
    log_scale_n: np.ndarray,
    sd_n: np.ndarray,
    low_n: np.ndarray,
    high_n: np.ndarray,
    node_Q: np.ndarray,
    weight_Q: np.ndarray,
    above_QQ: np.ndarray,
) -> np.ndarray:
    n, q_nodes = len(first_n), len(node_Q)
    p_n, above_n = np.zeros(n), np.zeros(n)  # above: probability of a value above the cell
    order_n = np.argsort(-high_n)
    f_Qn, below_n, others_n = np.empty((q_nodes, n)), np.empty(n), np.empty(n)
    top, bottom, n_alive, left = high_n.max(), low_n.max(), 0, 1.0
    while top > bottom and left > _DONE:
        n_alive, width = _wake(
            beta, first_n, second_n, sd_n, high_n, order_n, n_alive, top
        )  # fmt: skip
        alive_n = order_n[:n_alive]
        y_Q = top - width + width * node_Q
        _densities(beta, first_n, second_n, log_scale_n, alive_n, y_Q, f_Qn)
        for q in range(q_nodes):
            for m in range(n_alive):
                part = 0.0
                for r in range(q_nodes):
                    part += above_QQ[q, r] * f_Qn[r, m]
                below_n[m] = min(max(1.0 - above_n[alive_n[m]] - width * part, 0.0), 1.0)
            _others(below_n, n_alive, others_n)
            for m in range(n_alive):
                p_n[alive_n[m]] += width * weight_Q[q] * f_Qn[q, m] * others_n[m]
        left = 1.0
        for m in range(n_alive):
            part = 0.0
            for q in range(q_nodes):
                part += weight_Q[q] * f_Qn[q, m]
            above_n[alive_n[m]] = min(above_n[alive_n[m]] + width * part, 1.0)
            left *= 1.0 - above_n[alive_n[m]]
        top -= width
    return p_n
