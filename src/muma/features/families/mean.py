"""Mean of a measure: the paper's eq. (16), F_u(t) = sum of phi(x_i) / |E(W(t))|."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np

from muma.features.families.total import MeasuredConfig
from muma.features.feature import Cell, Feature, Moment, Partial


class Mean:
    """`{key}.{of}.{measure}.mean.{window}` over the events that have the measure; NaN without one."""

    def __init__(self, config: MeasuredConfig) -> None:
        self.config = config
        self._measure = config.of_measure()

    def features(self) -> Sequence[Feature]:
        """One feature a key, filter and window; the state is the sum and how many have it."""
        name = self.config.measure
        return [
            Feature(
                (f"{key.label}.{of}.{name}.mean.{window.label}",),
                (
                    Cell(key.name, window, Partial("add", self._measure, of)),
                    Cell(key.name, window, Partial("count", self._measure, of)),
                ),
            )
            for key, of, window in self.config.combinations()
        ]

    def values(self, cells: Sequence[np.ndarray], moment: Moment) -> np.ndarray:
        """Sum over count."""
        del moment
        return (ratio(cells[0], cells[1]) * self._measure.size)[:, :, None]


def ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """`top / bottom`, NaN where `bottom` is 0; float64, any equal shape."""
    return _ratio(top.ravel(), bottom.ravel()).reshape(top.shape)


@numba.njit(cache=True, nogil=True)
def _ratio(top_n: np.ndarray, bottom_n: np.ndarray) -> np.ndarray:
    found_n = np.full(len(top_n), np.nan)
    for n in range(len(top_n)):
        if bottom_n[n] > 0:
            found_n[n] = top_n[n] / bottom_n[n]
    return found_n
