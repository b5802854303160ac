"""How many different ids: a HyperLogLog sketch with the registers of Apache DataSketches' HLL_8.

The hash (64-bit MurmurHash3 of the id, seed 9001), the register and its rank are the ones of
DataSketches, in Java, C++ and Python, so that states can be exchanged with a Flink job. The estimate
is the classic one of Flajolet et al. 2007 (no order-dependent HIP estimator), by tables.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from pydantic import Field, field_validator

from muma.features.families.blocks import BlockConfig, refuse
from muma.features.feature import Cell, Feature, Moment, Partial
from muma.features.measure import IDS, Measure
from muma.features.window import Decay, Gap

HIGHEST = 40  # ranks above it count as it: 2^-40 of a register is nothing


class DistinctConfig(BlockConfig):
    """Distinct counts.

    Attributes:
        what: the id that is counted: `user`, `item`, `author` or `category`.
        registers: a power of two from 16; the relative standard error is 1.04 / sqrt(registers).
    """

    what: str = "item"
    registers: int = Field(default=64, ge=16, le=4096)

    @field_validator("what")
    @classmethod
    def _is_an_id(cls, what: str) -> str:
        if what not in IDS:
            raise ValueError(f"cannot count {what!r}; allowed: {', '.join(IDS)}")
        return what

    @field_validator("registers")
    @classmethod
    def _power_of_two(cls, registers: int) -> int:
        if registers & (registers - 1):
            raise ValueError(f"registers = {registers} is not a power of two")
        return registers


class Distinct:
    """`{key}.{of}.distinct_{what}.{window}`: about how many different ids; 0 without an event."""

    def __init__(self, config: DistinctConfig) -> None:
        self.config = config
        m = config.registers
        alpha = {16: 0.673, 32: 0.697, 64: 0.709}.get(m, 0.7213 / (1 + 1.079 / m))
        self._raw = alpha * m * m
        self._by_empty = np.array([0.0] + [m * math.log(m / zeros) for zeros in range(1, m + 1)])

    def features(self) -> Sequence[Feature]:
        """One feature a key, filter and window; the state is the registers, a byte each."""
        found = []
        for key, of, window in self.config.combinations():
            refuse(window, (Decay, Gap), "a distinct count")
            partial = Partial("hll", Measure(self.config.what), of, self.config.registers)
            name = f"{key.label}.{of}.distinct_{self.config.what}.{window.label}"
            found.append(Feature((name,), (Cell(key.name, window, partial),)))
        return found

    def values(self, cells: Sequence[np.ndarray], moment: Moment) -> np.ndarray:
        """Linear counting below 2.5 registers' worth, the harmonic mean above."""
        del moment
        ranks = np.minimum(cells[0], HIGHEST).astype(np.int64)
        parts = np.left_shift(np.int64(1), HIGHEST - ranks).sum(axis=-1)  # exact: whole numbers
        raw = self._raw / (parts / 2.0**HIGHEST)
        empty = (ranks == 0).sum(axis=-1)
        small = (raw <= 2.5 * self.config.registers) & (empty > 0)
        return np.where(small, self._by_empty[empty], raw)[:, :, None]
