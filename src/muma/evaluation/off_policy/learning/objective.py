"""What a learned policy maximises: its estimated value less a penalty for how unsure that is.

    J(W) = V(W) - lambda sqrt(var(V(W)))          counterfactual risk minimisation, and

    ips    V = 1/B sum_i c_i r_i                   var = S^2(c r) / B
    snips  V = sum_i c_i r_i / sum_i c_i           var = sum_i c_i^2 (r_i - V)^2 / (sum_i c_i)^2
    dr     V = 1/B sum_i pi_i q_i + c_i (r_i - q_i(a_i))     var = S^2 of the summands / B

with c_i = min(pi(a_i | x_i) / p_i, clip) and q the reward model. Swaminathan and Joachims, "Batch
learning from logged bandit feedback through counterfactual risk minimization", JMLR 2015 (ips), "The
self-normalized estimator for counterfactual learning", NIPS 2015 (snips); Dudik et al., ICML 2011 (dr).
Plain ips may gain by dodging all logged actions when rewards are shifted; snips and dr may not.

Shape: B rounds, A actions.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from muma.errors import ConfigError
from muma.evaluation.off_policy.logged import Logged

Kind = Literal["ips", "snips", "dr"]


class Objective:
    """J of a policy's probabilities on one log, and its gradient.

    Args:
        logged: the past.
        kind: `"ips"`, `"snips"` or `"dr"`.
        variance: lambda, at least 0; how many standard errors are subtracted.
        clip: largest weight, above 0; None for none.
        model_BA: reward model's predictions q, float64 [B, A]; needed by `"dr"`.

    Raises:
        ConfigError: a setting is out of range, or `"dr"` is without predictions.
    """

    def __init__(
        self,
        logged: Logged,
        kind: Kind = "snips",
        *,
        variance: float = 0.0,
        clip: float | None = None,
        model_BA: np.ndarray | None = None,
    ) -> None:
        if kind not in {"ips", "snips", "dr"}:
            raise ConfigError(f"kind is {kind!r}; allowed are ips, snips, dr")
        if not variance >= 0 or (clip is not None and not clip > 0):
            raise ConfigError(f"variance is {variance} (at least 0), clip {clip} (above 0 or None)")
        shape = None if model_BA is None else model_BA.shape
        if kind == "dr" and shape != (len(logged), logged.n_actions):
            raise ConfigError(
                f"dr needs the reward model's predictions [{len(logged)}, {logged.n_actions}]; got "
                f"{shape}"
            )
        self.kind, self.variance, self.clip = kind, variance, clip
        self._rows = np.arange(len(logged))
        self._action_B = logged.action_B
        self._reward_B = np.asarray(logged.reward_B, np.float64)
        self._propensity_B = np.asarray(logged.propensity_B, np.float64)
        self._model_BA = model_BA if kind == "dr" else None

    def value(self, target_BA: np.ndarray) -> float:
        """J of the probabilities."""
        return self.gradient(target_BA)[0]

    def gradient(self, target_BA: np.ndarray) -> tuple[float, np.ndarray]:
        """J, and its derivative by each probability, float64 [B, A].

        The derivative of a clipped weight is 0.
        """
        weight_B = target_BA[self._rows, self._action_B] / self._propensity_B
        free_B = np.ones(len(weight_B), bool)
        if self.clip is not None:
            free_B = weight_B < self.clip
            weight_B = np.minimum(weight_B, self.clip)
        slope_BA = np.zeros(target_BA.shape)
        if self.kind == "snips":
            value, slope_B = self._self_normalised(weight_B)
        else:
            term_B, residual_B = weight_B * self._reward_B, self._reward_B
            if self._model_BA is not None:
                residual_B = self._reward_B - self._model_BA[self._rows, self._action_B]
                term_B = (target_BA * self._model_BA).sum(axis=1) + weight_B * residual_B
            value, each_B = self._mean(term_B)
            slope_B = each_B * residual_B
            if self._model_BA is not None:
                slope_BA += each_B[:, None] * self._model_BA
        slope_BA[self._rows, self._action_B] += slope_B * free_B / self._propensity_B
        return value, slope_BA

    def _mean(self, term_B: np.ndarray) -> tuple[float, np.ndarray]:
        """J of a mean of terms, and its derivative by each term."""
        n, mean = len(term_B), term_B.mean()
        spread = float(np.sqrt(term_B.var(ddof=1) / n)) if n > 1 else 0.0
        slope_B = np.full(n, 1 / n)
        if self.variance and spread > 0:
            slope_B -= self.variance * (term_B - mean) / (n * (n - 1) * spread)
        return float(mean - self.variance * spread), slope_B

    def _self_normalised(self, weight_B: np.ndarray) -> tuple[float, np.ndarray]:
        """J of the ratio, and its derivative by each weight."""
        total = max(weight_B.sum(), np.finfo(float).tiny)
        value = weight_B @ self._reward_B / total
        off_B = self._reward_B - value
        slope_B = off_B / total
        squares = weight_B**2 @ off_B**2
        spread = float(np.sqrt(squares) / total)
        if self.variance and spread > 0:
            by_weight_B = 2 * weight_B * off_B**2 / total**2 - 2 * squares / total**3
            by_value = -2 * (weight_B**2 @ off_B) / total**2
            slope_B = slope_B - self.variance * (by_weight_B + by_value * slope_B) / (2 * spread)
        return float(value - self.variance * spread), slope_B
