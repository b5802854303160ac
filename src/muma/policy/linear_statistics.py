"""Sufficient statistics of a Bayesian linear regression of rewards on features.

With design rows z (an intercept, standardised features, flags of missing values), rewards r and event
weights w = 2^((t - now) / half_life),

    A = l I + sum w z z',   b = sum w r z,   theta = A^-1 b,   Cov(theta) = s^2 A^-1

(ridge prior theta ~ N(0, s^2 / l I); Li et al., WWW 2010, alg. 1; Agrawal and Goyal, ICML 2013). What is
kept are moments of the *raw* features; the scaling is a linear map of them that is applied on read. So
the scaling may move as data come in, and batches may come in any order, late or twice as large, with the
same statistics (up to rounding in float64).

Scaling: a feature's observed values are centred by their mean and divided by their standard deviation; a
missing value (NaN) stands at the mean, and a flag tells the model of it. A feature without spread (under
1e-5 of its mean) is left out. Without any data there is an intercept only: all candidates are alike.

Shape: E feedback rows, N candidates, F raw features, G = 2 F + 1 moments, D design columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from pydantic import Field
from scipy.linalg import solve_triangular

from muma.config import Config
from muma.errors import DataError
from muma.policy.prior import Prior
from muma.ranking.ranker import Slate

_NO_SPREAD = 1e-10  # variance over squared mean, below which float64 moments hold no spread
_JITTER = 1e-13
_PRIOR_NOISE, _PRIOR_ROWS = 0.5, 1.0  # a reward in [0, 1] has no larger standard deviation


class LinearConfig(Config):
    """How a linear model learns.

    Attributes:
        prior_precision: l of the ridge prior, on the scaled features.
        scaling: `"running"` standardises by what was seen; `"none"` takes features as they are.
        half_life_us: a reward this many microseconds older than the latest one weighs half; None: all
            weigh alike.
        noise: standard deviation s of a reward given its features; None: estimated from the residuals.
    """

    prior_precision: float = Field(default=1.0, gt=0)
    scaling: Literal["running", "none"] = "running"
    half_life_us: float | None = Field(default=None, gt=0)
    noise: float | None = Field(default=None, gt=0)


@dataclass(frozen=True)
class LinearPosterior:
    """What the statistics say; made by `LinearStatistics.posterior`.

    Attributes:
        theta_D: posterior mean of the weights.
        root_DD: upper triangular, A^-1 = root root'.
        noise: s, standard deviation of a reward given its features.
        mean_F, scale_F: centre and standard deviation of each feature.
        used_F: features with a spread.
        flagged_F: features of which missing values were seen.
    """

    theta_D: np.ndarray
    root_DD: np.ndarray
    noise: float
    mean_F: np.ndarray
    scale_F: np.ndarray
    used_F: np.ndarray
    flagged_F: np.ndarray

    @cached_property
    def _plain(self) -> tuple[np.ndarray, np.ndarray]:
        return self.mean_F[self.used_F], 1.0 / self.scale_F[self.used_F]

    def design(self, value_NF: np.ndarray) -> np.ndarray:
        """Design rows z of candidates: intercept, scaled features, flags; float64 [N, D].

        Raises:
            DataError: another number of features than learned from, or an infinite value.
        """
        value_NF = checked_features(value_NF, len(self.mean_F))
        centre, inverse = self._plain
        n_used = len(centre)
        z_ND = np.empty((len(value_NF), len(self.theta_D)))
        z_ND[:, 0] = 1.0
        scaled = z_ND[:, 1 : 1 + n_used]
        np.subtract(value_NF[:, self.used_F], centre, out=scaled)
        scaled *= inverse
        if np.isnan(scaled).any():
            scaled[np.isnan(scaled)] = 0.0
        z_ND[:, 1 + n_used :] = np.isnan(value_NF[:, self.flagged_F])
        return z_ND

    def moments(self, z_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and spread of design rows, z theta and sqrt(z A^-1 z); two float64 [N]."""
        leverage_ND = z_ND @ self.root_DD
        return z_ND @ self.theta_D, np.sqrt(np.einsum("nd,nd->n", leverage_ND, leverage_ND))


class LinearStatistics:
    """Moments of features and rewards; one linear model.

    Args:
        config: prior, scaling, discount.

    Example:
        >>> statistics = LinearStatistics(LinearConfig(prior_precision=1e-9))
        >>> x_EF = np.array([[0.0], [1.0], [2.0]], np.float32)
        >>> statistics.add(x_EF, np.array([0.1, 0.3, 0.5]), np.zeros(3, np.int64))
        >>> posterior = statistics.posterior(1)
        >>> mean_N, _ = posterior.moments(posterior.design(np.array([[1.5]], np.float32)))
        >>> mean_N.round(6).tolist()
        [0.4]
    """

    def __init__(self, config: LinearConfig) -> None:
        self.config = config
        self.time = -1
        self._moment_GG: np.ndarray | None = None
        self._reward_G = np.zeros(0)
        self._square = 0.0
        self._posterior: LinearPosterior | None = None

    @property
    def count(self) -> float:
        """Weight of the rows taken in; their number without a discount."""
        return 0.0 if self._moment_GG is None else float(self._moment_GG[0, 0])

    def add(
        self,
        value_EF: np.ndarray,
        reward_E: np.ndarray,
        time_E: np.ndarray,
        *,
        source: tuple[int, int] | None = None,  # noqa: ARG002 - in memory, all rows are new
    ) -> None:
        """Take in rows.

        Args:
            value_EF: raw features; NaN is missing.
            reward_E: float64.
            time_E: event times in microseconds; read with a half-life only.
            source: of the feedback, for moments in a store.

        Raises:
            DataError: another number of features than before, or an infinite one; nothing was learned.
        """
        width = None if self._moment_GG is None else (len(self._moment_GG) - 1) // 2
        value_EF = checked_features(value_EF, width)
        if not len(value_EF):
            return
        latest = max(self.time, int(time_E.max()))
        row_EG = np.empty((len(value_EF), 2 * value_EF.shape[1] + 1))
        missing_EF = np.isnan(value_EF)
        row_EG[:, 0] = 1.0
        row_EG[:, 1 : 1 + value_EF.shape[1]] = np.where(missing_EF, 0.0, value_EF)
        row_EG[:, 1 + value_EF.shape[1] :] = missing_EF
        weight_E = np.ones(len(value_EF))
        kept = 1.0
        if (half := self.config.half_life_us) is not None:
            weight_E = np.exp2((np.asarray(time_E, np.float64) - latest) / half)
            kept = 1.0 if self.time < 0 else float(np.exp2((self.time - latest) / half))
        if self._moment_GG is None:
            self._moment_GG = np.zeros((row_EG.shape[1], row_EG.shape[1]))
            self._reward_G = np.zeros(row_EG.shape[1])
        weighted_EG = row_EG * weight_E[:, None]
        self._moment_GG = kept * self._moment_GG + weighted_EG.T @ row_EG
        self._reward_G = kept * self._reward_G + weighted_EG.T @ reward_E
        self._square = kept * self._square + float(weight_E @ (reward_E * reward_E))
        self.time = latest
        self._posterior = None

    def posterior(self, n_features: int) -> LinearPosterior:
        """The model as of now; kept until the next rows come in.

        Args:
            n_features: F, read while nothing was learned yet.
        """
        if self._moment_GG is None:
            none_GG = np.zeros((2 * n_features + 1, 2 * n_features + 1))
            return _solved(self.config, none_GG, none_GG[0], 0.0)
        if self._posterior is None:
            self._posterior = _solved(self.config, self._moment_GG, self._reward_G, self._square)
        return self._posterior

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything learned, for an artifact."""
        moment_GG = np.zeros((0, 0)) if self._moment_GG is None else self._moment_GG
        return {
            "moment": moment_GG,
            "reward": self._reward_G,
            "square": np.array([self._square]),
            "time": np.array([self.time], np.int64),
        }

    @classmethod
    def from_arrays(cls, config: LinearConfig, stored: dict[str, np.ndarray]) -> LinearStatistics:
        """Read what `arrays` gave."""
        found = cls(config)
        found._moment_GG = stored["moment"] if stored["moment"].size else None
        found._reward_G, found._square = stored["reward"], float(stored["square"][0])
        found.time = int(stored["time"][0])
        return found


def checked_features(value_NF: np.ndarray, width: int | None) -> np.ndarray:
    """Features as a float matrix.

    Raises:
        DataError: they are no matrix, have another width, or hold an infinite value.
    """
    value_NF = np.asarray(value_NF)
    if value_NF.ndim != 2 or (width is not None and value_NF.shape[1] != width):
        told = "[rows, features]" if width is None else f"[rows, {width}]"
        raise DataError(f"features have shape {value_NF.shape}; they must be {told}")
    if np.isinf(value_NF).any():
        raise DataError("a feature is infinite; mark a missing value with NaN")
    return value_NF


def _solved(
    config: LinearConfig, moment_GG: np.ndarray, reward_G: np.ndarray, square: float
) -> LinearPosterior:
    n_features = (len(moment_GG) - 1) // 2
    count, value, flag = moment_GG[0, 0], slice(1, 1 + n_features), slice(1 + n_features, None)
    missing_F = moment_GG[0, flag]
    seen_F = np.maximum(count - missing_F, 1e-300)
    mean_F, scale_F = np.zeros(n_features), np.ones(n_features)
    used_F = np.diag(moment_GG)[value] > 0
    if config.scaling == "running":
        mean_F = moment_GG[0, value] / seen_F
        variance_F = np.diag(moment_GG)[value] / seen_F - mean_F**2
        used_F = variance_F > _NO_SPREAD * mean_F**2
        scale_F = np.sqrt(np.where(used_F, variance_F, 1.0))
    flagged_F = (missing_F > 0) & (count - missing_F > 1e-9 * count)
    used, flagged = np.flatnonzero(used_F), np.flatnonzero(flagged_F)
    width = 1 + len(used) + len(flagged)
    map_DG = np.zeros((width, len(moment_GG)))
    map_DG[0, 0] = 1.0
    row = 1 + np.arange(len(used))
    map_DG[row, 1 + used] = 1 / scale_F[used]
    map_DG[row, 0] = -mean_F[used] / scale_F[used]
    map_DG[row, 1 + n_features + used] = mean_F[used] / scale_F[used]
    map_DG[1 + len(used) + np.arange(len(flagged)), 1 + n_features + flagged] = 1.0
    precision_DD = map_DG @ moment_GG @ map_DG.T
    least = _JITTER * np.trace(precision_DD)  # collinear features keep a factor
    precision_DD[np.diag_indices(width)] += max(config.prior_precision, least)
    reward_D = map_DG @ reward_G
    lower_DD = np.linalg.cholesky(precision_DD)
    root_DD = solve_triangular(lower_DD, np.eye(width), lower=True).T
    theta_D = root_DD @ (root_DD.T @ reward_D)
    noise = noise_of(config, square - float(reward_D @ theta_D), count)
    return LinearPosterior(
        theta_D, np.ascontiguousarray(root_DD), noise, mean_F, scale_F, used_F, flagged_F
    )


def noise_of(config: LinearConfig, left: float, count: float) -> float:
    """Standard deviation of a reward given its features, the config's or estimated.

    The estimate is the mean of the squares that are left after the fit, with one imagined row of 0.5.
    """
    if config.noise is not None:
        return config.noise
    total = _PRIOR_ROWS * _PRIOR_NOISE**2 + max(left, 0.0)
    return float(np.sqrt(total / (_PRIOR_ROWS + count)))


def leaned(
    mean_N: np.ndarray, spread_N: np.ndarray, prior: Prior, slate: Slate
) -> tuple[np.ndarray, np.ndarray]:
    """A model's moments after each candidate's imagined rewards (exact, one candidate at a time).

        s = spread^2,   mean' = (mean + k s p) / (1 + k s),   spread' = spread / sqrt(1 + k s)

    for k rewards of mean p. Candidates that the model knows little of lean on the ranker most; nothing
    of it is learned, so feedback needs no probabilities.

    Example:
        >>> slate = Slate.plain(np.arange(2))
        >>> prior = Prior(strength=1.0, mean=0.8)
        >>> mean_N, _ = leaned(np.array([0.2, 0.2]), np.array([1.0, 0.0]), prior, slate)
        >>> mean_N.tolist()
        [0.5, 0.2]
    """
    if prior.strength == 0:
        return mean_N, spread_N
    pull_N = prior.strength * spread_N**2
    mean_N = (mean_N + pull_N * prior.means(slate)) / (1 + pull_N)
    return mean_N, spread_N / np.sqrt(1 + pull_N)
