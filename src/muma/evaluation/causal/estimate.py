"""What an estimator returns before it is dressed as an `Effect`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """An effect and what it is made of.

    Attributes:
        treated: mean outcome of those asked about, if treated.
        untreated: mean outcome of those asked about, if not.
        error: standard error of the difference.
        difference_M: difference within each matched set, float64 [M]; None for weights.
    """

    treated: float
    untreated: float
    error: float
    difference_M: np.ndarray | None = None

    @property
    def value(self) -> float:
        """The effect: treated - untreated."""
        return self.treated - self.untreated
