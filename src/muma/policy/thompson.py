"""Thompson sampling whose probabilities are known: a slot goes to the arm most likely to be the best.

An arm's probability is the posterior probability that its mean reward is the largest of those left
(Thompson, 1933; Chapelle and Li, NIPS 2011). Drawing one value of each posterior and showing the largest
has the same law but hides the number; here it is computed, and the slot is drawn from it.

    Beta:      mu(i) ~ Beta(s m + sum r, s (1 - m) + n - sum r)
    Gaussian:  mu(i) ~ N((s m + sum r) / (s + n), noise^2 / (s + n))

with the prior's strength s and mean m. Rewards between 0 and 1 count for the Beta posterior as so much of
a success. Quadrature is exact to about 1e-7 (`largest.py`, which measures its error); Monte Carlo with S
draws to 1.5 / sqrt S, at 99.7 %.

Shape: N candidates, n of them in the support, S draws.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from muma.policy.arms import ArmConfig, ArmPolicy, Evidence
from muma.policy.floor import Chance, floored, rank
from muma.policy.largest import largest_beta, largest_normal
from muma.policy.policy import Context
from muma.policy.sequential import Judgement
from muma.policy.statistics import Statistics
from muma.ranking.ranker import Slate
from muma.rng import derive

QUADRATURE_ERROR = 1e-5  # no answer of `largest.py` has measured more in its tests


class ThompsonConfig(ArmConfig):
    """Settings of Thompson sampling.

    Attributes:
        posterior: `"beta"` for rewards that are mostly 0 or 1, `"gaussian"` for others.
        noise: standard deviation of a reward, for the Gaussian; None: each arm's own, from its sum of
            squares and, as imagined rewards of the prior, a standard deviation of 0.5.
        probabilities: `"quadrature"`, or `"monte-carlo"`.
        draws: of Monte Carlo.
        seed: of Monte Carlo; a request's draws follow from it and the request id.
    """

    posterior: Literal["beta", "gaussian"] = "beta"
    noise: float | None = Field(default=None, gt=0)
    probabilities: Literal["quadrature", "monte-carlo"] = "quadrature"
    draws: int = Field(default=4096, ge=100)
    seed: int = 0

    @model_validator(mode="after")
    def _proper(self) -> ThompsonConfig:
        if self.prior.strength <= 0:
            raise ValueError("a posterior needs a prior: give prior.strength above 0")
        return self


class Thompson(ArmPolicy[ThompsonConfig]):
    """Draws slots by the posterior probability of being the best.

    Args:
        config: the settings.
        statistics: where they are kept; None: in memory.

    Example:
        >>> from muma.policy.floor import Floor
        >>> from muma.policy.policy import Feedback
        >>> policy = Thompson(ThompsonConfig(floor=Floor(least=0)))
        >>> one = np.ones(1)
        >>> policy.learn(Feedback(np.array([7]), one, np.array([10]), propensity_E=one))
        >>> slate = Slate.plain(np.array([4, 7]))
        >>> policy.next_slot(slate, Context("r1", time=20), taken=[]).round(4).tolist()
        [0.3333, 0.6667]
    """

    name: ClassVar[str] = "thompson"

    def __init__(
        self, config: ThompsonConfig = ThompsonConfig(), *, statistics: Statistics | None = None
    ) -> None:
        super().__init__(config, statistics=statistics)

    def judge(self, slate: Slate, context: Context) -> Judgement:
        """Judge a request."""
        config = self.config
        evidence = self.evidence(slate, context)
        first_N, second_N = self.posterior(evidence)
        if config.posterior == "beta":
            total_N = first_N + second_N
            sd_N = np.sqrt(first_N * second_N / (total_N + 1)) / total_N
        else:
            sd_N = second_N
        if config.probabilities == "quadrature":
            error, chance = QUADRATURE_ERROR, self._quadrature(first_N, second_N)
        else:
            error = 1.5 / float(np.sqrt(config.draws))
            chance = self._monte_carlo(slate, context, first_N, second_N)
        optimistic_N = evidence.mean_N + 2 * sd_N  # who is in the support when not all fit
        return Judgement(
            expected_N=evidence.mean_N,
            greedy_N=rank(evidence.mean_N, slate.score_N, slate.item_N),
            slot=floored(chance, rank(optimistic_N, slate.score_N, slate.item_N), config.floor),
            floor=config.floor.least,
            error=error,
        )

    def posterior(self, evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
        """Parameters of Beta, or mean and standard deviation of the Gaussian, float64 [N] each.

        Example:
            >>> policy = Thompson()
            >>> evidence = policy.evidence(Slate.plain(np.array([4])), Context("r1", time=0))
            >>> [value_N.tolist() for value_N in policy.posterior(evidence)]
            [[1.0], [1.0]]
        """
        strength = self.config.prior.strength
        if self.config.posterior == "beta":
            a_N = strength * evidence.prior_N + evidence.moments.sum_N
            b_N = strength * (1 - evidence.prior_N)
            # discounting rounds; more successes than trials there are none
            return a_N, b_N + np.maximum(evidence.moments.count_N - evidence.moments.sum_N, 0.0)
        if self.config.noise is not None:
            return evidence.mean_N, self.config.noise / np.sqrt(evidence.count_N)
        square_N = strength * (0.25 + evidence.prior_N**2) + evidence.moments.square_N
        variance_N = np.maximum(square_N / evidence.count_N - evidence.mean_N**2, 1e-12)
        return evidence.mean_N, np.sqrt(variance_N / evidence.count_N)

    def draws(
        self, first_N: np.ndarray, second_N: np.ndarray, rng: np.random.Generator, n: int = 1
    ) -> np.ndarray:
        """Joint draws of the posterior, on a scale that keeps their order; float64 [n, N].

        A Beta with a parameter below 1 is drawn as log-odds: its values lie so near to 0 or 1 that
        float64 would make many of them equal.

        Args:
            first_N: as of `posterior`.
            second_N: as of `posterior`.
            rng: draws them.
            n: how many.
        """
        size = (n, len(first_N))
        if self.config.posterior == "gaussian":
            return rng.normal(first_N, second_N, size)
        if min(first_N.min(), second_N.min()) >= 1:
            return rng.beta(first_N, second_N, size)
        return _log_gamma(first_N, rng, size) - _log_gamma(second_N, rng, size)

    def _quadrature(self, first_N: np.ndarray, second_N: np.ndarray) -> Chance:
        largest = largest_beta if self.config.posterior == "beta" else largest_normal
        return lambda place_n: largest(first_N[place_n], second_N[place_n])[0]

    def _monte_carlo(
        self, slate: Slate, context: Context, first_N: np.ndarray, second_N: np.ndarray
    ) -> Chance:
        """Shares of joint draws in which each is the largest; a draw belongs to an item, not a place."""
        rng = derive(self.config.seed, "thompson", context.request_id)
        by_item_N = np.argsort(slate.item_N, kind="stable")
        value_SN = np.empty((self.config.draws, len(slate)))
        value_SN[:, by_item_N] = self.draws(
            first_N[by_item_N], second_N[by_item_N], rng, self.config.draws
        )

        def chance(place_n: np.ndarray) -> np.ndarray:
            best_S = value_SN[:, place_n].argmax(axis=1)
            return np.bincount(best_S, minlength=len(place_n)) / self.config.draws

        return chance


def _log_gamma(shape_N: np.ndarray, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Log of Gamma draws, also of those below the least float64: G(a) is G(a + 1) U^(1 / a)."""
    return np.log(rng.standard_gamma(shape_N + 1, size)) - rng.standard_exponential(size) / shape_N
