"""Normalisation of event columns (paper eq. 1), fitted on the training window and then frozen.

    z-score   x' = (x - mean) / deviation                       (eq. 1)
    min-max   x' = (x - min) / (max - min), clipped to [0, 1]
    log1p     z-score of log(1 + x), for heavy tails
    quantile  x' = share of training values <= x (mid-rank), for any shape

A missing value (NaN) stays missing. Fitted numbers are plain arrays, saved with an artifact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, Self

import numpy as np
import polars as pl
from pydantic import Field

from muma.artifact import Artifact, Writer
from muma.config import Config, Spec, build
from muma.errors import DataError, NotFittedError
from muma.events.event import EventLog


class Normaliser(Protocol):
    """Maps one column of numbers; learned once, then frozen."""

    state: dict[str, np.ndarray]

    def fit(self, x: np.ndarray) -> Self:
        """Learn from training values, shape [n]; NaN is ignored.

        Raises:
            DataError: no finite value.
        """
        ...

    def transform(self, x: np.ndarray) -> np.ndarray:
        """Map values, any shape, to float64 of that shape."""
        ...


class _Frozen:
    def __init__(self) -> None:
        self.state: dict[str, np.ndarray] = {}

    def _get(self, name: str) -> np.ndarray:
        if not self.state:
            raise NotFittedError(f"{type(self).__name__}.transform before fit")
        return self.state[name]


class ZScoreConfig(Config):
    """Nothing to set."""


class ZScore(_Frozen):
    """Equation (1); a constant column maps to 0.

    Example:
        >>> ZScore().fit(np.array([1.0, 3.0])).transform(np.array([3.0])).tolist()
        [1.0]
    """

    def __init__(self, config: ZScoreConfig = ZScoreConfig()) -> None:
        super().__init__()
        self.config = config

    def fit(self, x: np.ndarray) -> Self:
        """Learn mean and population deviation."""
        known = _finite(x)
        constant = known.min() == known.max()  # rounding would leave it a deviation of 1e-17
        mean, deviation = (known[0], 0.0) if constant else (known.mean(), known.std())
        self.state = {"mean": np.array(mean), "deviation": np.array(deviation)}
        return self

    def transform(self, x: np.ndarray) -> np.ndarray:
        """Standardise."""
        deviation = self._get("deviation")
        return (np.asarray(x, dtype=np.float64) - self._get("mean")) / (deviation or 1.0)


class MinMaxConfig(Config):
    """How values outside the training range map.

    Attributes:
        clip: keep them inside [0, 1].
    """

    clip: bool = True


class MinMax(_Frozen):
    """Map the training range to [0, 1]; a constant column maps to 0."""

    def __init__(self, config: MinMaxConfig = MinMaxConfig()) -> None:
        super().__init__()
        self.config = config

    def fit(self, x: np.ndarray) -> Self:
        """Learn the range."""
        known = _finite(x)
        self.state = {"low": np.array(known.min()), "high": np.array(known.max())}
        return self

    def transform(self, x: np.ndarray) -> np.ndarray:
        """Scale."""
        low, high = self._get("low"), self._get("high")
        scaled = (np.asarray(x, dtype=np.float64) - low) / ((high - low) or 1.0)
        return np.clip(scaled, 0.0, 1.0) if self.config.clip else scaled


class Log1pConfig(Config):
    """Nothing to set."""


class Log1p(ZScore):
    """Z-score of log(1 + x), for x >= 0; negative values raise a DataError."""

    def __init__(self, config: Log1pConfig = Log1pConfig()) -> None:
        _Frozen.__init__(self)
        self.config = config  # pyright: ignore[reportIncompatibleVariableOverride]

    def fit(self, x: np.ndarray) -> Self:
        """Learn mean and deviation of the logarithms."""
        return super().fit(_log1p(x))

    def transform(self, x: np.ndarray) -> np.ndarray:
        """Take logarithms and standardise."""
        return super().transform(_log1p(x))


class QuantileConfig(Config):
    """Resolution.

    Attributes:
        points: quantiles kept, evenly spaced.
    """

    points: int = Field(default=1001, ge=2)


class Quantile(_Frozen):
    """Empirical distribution function of the training values, in [0, 1]."""

    def __init__(self, config: QuantileConfig = QuantileConfig()) -> None:
        super().__init__()
        self.config = config

    def fit(self, x: np.ndarray) -> Self:
        """Learn evenly spaced quantiles."""
        grid = np.linspace(0, 1, self.config.points)
        self.state = {"values": np.quantile(_finite(x), grid)}
        return self

    def transform(self, x: np.ndarray) -> np.ndarray:
        """Mid-rank share of the kept quantiles."""
        values, x = self._get("values"), np.asarray(x, dtype=np.float64)
        below = np.searchsorted(values, x, side="left")
        upto = np.searchsorted(values, x, side="right")
        return np.where(np.isnan(x), np.nan, (below + upto) / (2 * len(values)))


class Normalisers:
    """One fitted normaliser for each named event column."""

    def __init__(self, specs: Mapping[str, Spec]) -> None:
        self.specs = dict(specs)
        self.by_column: dict[str, Normaliser] = {
            column: build(spec, where=f"normalise.{column}") for column, spec in specs.items()
        }

    def fit(self, train: EventLog) -> Self:
        """Learn every column from the training window; an empty column raises DataError."""
        for column, normaliser in self.by_column.items():
            try:
                values = train.events.select(pl.col(column).cast(pl.Float64)).collect().to_series()
            except pl.exceptions.PolarsError:
                raise DataError(f"normalise.{column}: the log has no such numeric column") from None
            try:
                normaliser.fit(values.drop_nulls().to_numpy())
            except DataError as error:
                raise DataError(f"normalise.{column}: {error}") from None
        return self

    def transform(self, events: pl.DataFrame) -> pl.DataFrame:
        """Replace each fitted column by its normalised values; null stays null."""
        for column, normaliser in self.by_column.items():
            if column not in events.columns:
                raise DataError(f"normalise.{column}: the events have no such column")
            raw = events.get_column(column).cast(pl.Float64)
            values = normaliser.transform(raw.fill_null(float("nan")).to_numpy())
            events = events.with_columns(pl.Series(column, values).fill_nan(None))
        return events

    def save(self, writer: Writer) -> None:
        """Write the fitted numbers."""
        arrays = {
            f"{column}/{name}": array
            for column, normaliser in self.by_column.items()
            for name, array in normaliser.state.items()
        }
        writer.arrays("normalisers.npz", arrays)
        writer.meta["normalise"] = {
            column: {"use": spec.use, **spec.params} for column, spec in self.specs.items()
        }

    @classmethod
    def load(cls, artifact: Artifact) -> Normalisers:
        """Read what `save` wrote."""
        specs = {c: Spec.model_validate(s) for c, s in artifact.meta["normalise"].items()}
        loaded = cls(specs)
        for key, array in artifact.arrays("normalisers.npz").items():
            column, name = key.rsplit("/", 1)
            loaded.by_column[column].state[name] = array
        return loaded


def _finite(x: np.ndarray) -> np.ndarray:
    known = np.asarray(x, dtype=np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        raise DataError("no finite value to learn from")
    return known


def _log1p(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    if (x < 0).any():
        raise DataError(f"log1p needs values >= 0; the lowest is {np.nanmin(x)}")
    return np.log1p(x)
