"""Rate of one kind of event per another, smoothed by a stated Beta prior."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from pydantic import Field

from muma.features.families.blocks import BlockConfig
from muma.features.families.mean import ratio
from muma.features.feature import Cell, Feature, Moment, Partial
from muma.features.keys import KeyKind
from muma.features.window import parse_window


class RateConfig(BlockConfig):
    """Rates over keys and windows.

    Attributes:
        of: not used; a rate names its two filters in `pairs`.
        pairs: `[successes, trials]`, such as `["click", "impression"]`.
        prior_rate: mean of the Beta prior, in (0, 1).
        prior_trials: its weight, in trials; 0 gives the raw rate, NaN without a trial.
    """

    pairs: tuple[tuple[str, str], ...] = Field(default=(("click", "impression"),), min_length=1)
    prior_rate: float = Field(default=0.05, gt=0, lt=1)
    prior_trials: float = Field(default=20.0, ge=0)


class Rate:
    """`{key}.{successes}_per_{trials}.rate.{window}`: the posterior mean under the prior.

    (successes + prior_rate * prior_trials) / (trials + prior_trials). A trial and its success count
    at their own times, so a rate can pass 1 when the trials have left the window.
    """

    def __init__(self, config: RateConfig) -> None:
        self.config = config

    def features(self) -> Sequence[Feature]:
        """One feature a key, pair and window."""
        found = []
        config = self.config
        for text, (top, bottom), span in product(config.keys, config.pairs, config.windows):
            key, window = KeyKind.parse(text), parse_window(span)
            found.append(
                Feature(
                    (f"{key.label}.{top}_per_{bottom}.rate.{window.label}",),
                    (
                        Cell(key.name, window, Partial(where=top)),
                        Cell(key.name, window, Partial(where=bottom)),
                    ),
                )
            )
        return found

    def values(self, cells: Sequence[np.ndarray], moment: Moment) -> np.ndarray:
        """The smoothed rate."""
        del moment
        prior = self.config.prior_rate * self.config.prior_trials
        return ratio(cells[0] + prior, cells[1] + self.config.prior_trials)[:, :, None]
