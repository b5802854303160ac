"""The contract of this room: a feature is declared once, kept as integers, and read at a moment.

An event writes **partials**: whole numbers that merge by sum, minimum or maximum, so that neither
the order nor the batching of events can change a bit. A feature names the **cells** it reads (a
partial of one kind of key over one window) and its family turns the merged integers into values.
The offline engine and the online one only differ in how they get the merged integers; both hand
them to the same `values`, so that a training row and a served one are equal bit for bit.

A new family is one file in `families/`: a config, the features it expands to, and `values`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import polars as pl

from muma.features.measure import ONE, Measure
from muma.features.window import Window

Op = Literal["add", "count", "min", "max", "hll", "bucket"]


@dataclass(frozen=True)
class Partial:
    """What an event writes into the state of its key, when it passes the filter `where`.

    Attributes:
        op: `add` sums the measure; `count` counts the events that have it; `min` and `max` keep the
            lowest or highest; `hll` keeps the registers of a distinct-count sketch of an id;
            `bucket` counts events by an id.
        measure: the measure, or the id for `hll` and `bucket`.
        where: name of a filter.
        size: registers of the sketch (a power of two, at least 16) or number of buckets; else 1.
    """

    op: Op = "add"
    measure: Measure = ONE
    where: str = "any"
    size: int = 1

    @property
    def words(self) -> int:
        """64-bit words of state: eight registers share one."""
        return self.size // 8 if self.op == "hll" else self.size


@dataclass(frozen=True)
class Cell:
    """A partial of one kind of key (`keys.py`) merged over one window."""

    key: str
    window: Window
    partial: Partial


@dataclass(frozen=True)
class Feature:
    """One or more columns that are read from the same cells.

    Attributes:
        columns: names; unique in a set of features.
        cells: what is read, in the order in which the family's `values` expects it. A feature whose
            key the request lacks (an item without a category, say) is NaN.
        keys: kinds of key that must be present beside those of the cells.
    """

    columns: tuple[str, ...]
    cells: tuple[Cell, ...] = ()
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Moment:
    """Who asks for what, when: B requests.

    Shape:
        at_B: int64 microseconds. published_B: int64 microseconds, -1 where it is unknown.
        components: kind component -> int64 [B], -1 where the request has none.
    """

    at_B: np.ndarray
    published_B: np.ndarray
    components: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.at_B)


class Family(Protocol):
    """A family of features; its constructor takes its config, as every component's."""

    def features(self) -> Sequence[Feature]:
        """Every feature of this block; all have the same number of cells and of columns.

        Raises:
            ConfigError: the config asks for something that cannot be.
        """
        ...

    def values(self, cells: Sequence[np.ndarray], moment: Moment) -> np.ndarray:
        """Values of all the features at once.

        Use only operations that IEEE 754 rounds correctly (+ - * / sqrt, comparisons, tables), so
        that batch shape and hardware cannot change a bit.

        Args:
            cells: per cell position, over the F features. `add`, `count`: float64 [B, F] in units
                of the measure; `min`, `max`: float64 [B, F], NaN without an event; `hll`: uint8 registers
                [B, F, size]; `bucket`: float64 [B, F, size].
            moment: the requests.

        Returns:
            float64 [B, F, C] for C columns a feature; NaN where there is no value.
        """
        ...


@dataclass(frozen=True)
class SequenceSpec:
    """The last `length` events of a key that pass a filter: the interest model's input.

    Equal times are ordered by item, kind, domain, then dwell, so that arrival cannot change it.

    Attributes:
        name: names the four arrays `name.item`, `.time`, `.kind`, `.dwell_ms`.
        horizon: events older than this (microseconds) are left out; None keeps them for ever.
    """

    name: str
    key: str
    where: str
    length: int
    horizon: int | None = None


@dataclass(frozen=True)
class Sequences:
    """Sequences of B requests, oldest event first, padded on the left.

    Shape:
        item_BL: int64, -1 for padding or no item; time_BL: int64 microseconds, 0 for padding;
        kind_BL, domain_BL: int64 codes into `ACTIONS` and `DOMAINS`, -1 for padding;
        dwell_BL: int64 milliseconds, -1 when there is none; mask_BL: bool, true for an event.
    """

    item_BL: np.ndarray
    time_BL: np.ndarray
    kind_BL: np.ndarray
    domain_BL: np.ndarray
    dwell_BL: np.ndarray
    mask_BL: np.ndarray


@dataclass(frozen=True)
class FeatureTable:
    """Features of B (user, item, time) rows.

    Shape:
        columns: F names. values_BF: float64, NaN where there is no value.
        sequences: name -> arrays [B, L]. as_of_B: int64 microseconds.
    """

    columns: tuple[str, ...]
    values_BF: np.ndarray
    as_of_B: np.ndarray
    sequences: Mapping[str, Sequences] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.as_of_B)

    def column(self, name: str) -> np.ndarray:
        """Values of one column, float64 [B]."""
        return self.values_BF[:, self.columns.index(name)]

    def frame(self) -> pl.DataFrame:
        """As a frame: a Float64 column a feature (NaN is null), a list column a sequence array."""
        values = pl.DataFrame(self.values_BF, schema=list(self.columns), orient="row")
        parts = [values.fill_nan(None)]
        for name, seq in self.sequences.items():
            arrays = {
                "item": seq.item_BL,
                "time": seq.time_BL,
                "kind": seq.kind_BL,
                "domain": seq.domain_BL,
                "dwell_ms": seq.dwell_BL,
            }
            parts.append(pl.DataFrame({f"{name}.{key}": array for key, array in arrays.items()}))
        return pl.concat(parts, how="horizontal")
