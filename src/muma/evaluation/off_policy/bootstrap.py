"""Percentile intervals by resampling units; all estimators share the resamples.

Numerators and denominators are resampled together, so ratios need no approximation. What was chosen on
the log (a clip, beta*) and the reward model are held fixed.

Shape: U units, R resamples, M estimators.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.evaluation.intervals import resampled_means
from muma.evaluation.off_policy.estimator import Terms
from muma.evaluation.off_policy.units import Units, ratio_sums


class BootstrapConfig(Config):
    """Settings of `Bootstrap`.

    Attributes:
        level: confidence level.
        n_resamples: R.
        seed: equal seeds and units give equal resamples.
    """

    level: float = Field(default=0.95, gt=0, lt=1)
    n_resamples: int = Field(default=1000, ge=1)
    seed: int = 0


class Bootstrap:
    """Percentile intervals over resampled units.

    Example:
        >>> from muma.evaluation.off_policy.units import units_of
        >>> terms = {"IPS": Terms(np.array([0.0, 1.0] * 50))}
        >>> low, high = Bootstrap().bounds(terms, units_of(None, 100))["IPS"]
        >>> 0.35 < low < 0.45 and 0.55 < high < 0.65
        True
    """

    name = "bootstrap"

    def __init__(self, config: BootstrapConfig = BootstrapConfig()) -> None:
        self.config = config

    @property
    def level(self) -> float:
        """Confidence level."""
        return self.config.level

    def bounds(self, terms: Mapping[str, Terms], units: Units) -> dict[str, tuple[float, float]]:
        """Ends for each estimator; NaN with fewer than two units."""
        if units.count < 2:
            return dict.fromkeys(terms, (float("nan"), float("nan")))
        sums = [ratio_sums(term, units) for term in terms.values()]
        # columns are numerators, then denominators
        value_UM = np.column_stack([n for n, _ in sums] + [d for _, d in sums])
        mean_RM = resampled_means(
            value_UM, seed=self.config.seed, n_resamples=self.config.n_resamples
        )
        above_RM, below_RM = np.split(mean_RM, 2, axis=1)
        ratio_RM = above_RM / np.where(below_RM == 0, np.nan, below_RM)
        tail = (1 - self.config.level) / 2
        found = {}
        for column, name in enumerate(terms):
            defined_R = ratio_RM[~np.isnan(ratio_RM[:, column]), column]
            ends = np.quantile(defined_R, [tail, 1 - tail]) if len(defined_R) else [np.nan] * 2
            found[name] = float(ends[0]), float(ends[1])
        return found
