"""The contract of an interval: terms of several estimators in, lower and upper ends out.

Estimators come together so that a bootstrap can share its resamples between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from muma.evaluation.off_policy.estimator import Terms
from muma.evaluation.off_policy.units import Units


class Interval(Protocol):
    """Says how sure an estimate is.

    Attributes:
        name: stands in tables and pictures.
    """

    name: str

    @property
    def level(self) -> float:
        """Confidence level, in (0, 1)."""
        ...

    def bounds(self, terms: Mapping[str, Terms], units: Units) -> dict[str, tuple[float, float]]:
        """Lower and upper end for each estimator; NaN where it has no such interval.

        Args:
            terms: of each estimator, by name, over the same rounds.
            units: what is independent of each other.
        """
        ...
