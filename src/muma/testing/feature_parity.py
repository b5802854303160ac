"""Expected features of requests, and the comparison that forgives nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from muma.config import config_type, locate, parse
from muma.events.event import EventLog
from muma.features.config import FeaturesConfig
from muma.features.feature import FeatureTable, Sequences
from muma.features.span import parse_span
from muma.testing.feature_formulas import FORMULAS, Formula
from muma.testing.feature_reference import Ask, RawWorld

ARRAYS = ("item_BL", "time_BL", "kind_BL", "domain_BL", "dwell_BL", "mask_BL")


def expect(
    config: FeaturesConfig,
    log: EventLog | RawWorld,
    user_B: np.ndarray,
    item_B: np.ndarray,
    at_B: np.ndarray,
    *,
    formulas: Mapping[str, Formula] = FORMULAS,
) -> FeatureTable:
    """Features of requests by brute force; columns of families without a formula are left out.

    Args:
        config: the features.
        log: what happened.
        user_B: users, -1 for none.
        item_B: items, -1 for none.
        at_B: moments, microseconds.
        formulas: import path of a family -> its formula.
    """
    world = log if isinstance(log, RawWorld) else RawWorld.of(log)
    blocks = [
        (formulas[spec.use], parse(config_type(locate(spec.use)), spec.params, where=name))
        for name, spec in config.blocks.items()
        if spec.use in formulas
    ]
    asks = [
        Ask(world, config.filters, _known(user), _known(item), at)
        for user, item, at in zip(user_B.tolist(), item_B.tolist(), at_B.tolist(), strict=True)
    ]
    rows: list[dict[str, float]] = []
    for ask in asks:
        found: dict[str, float] = {}
        for formula, own in blocks:
            found.update(formula(own, ask))
        rows.append(found)
    columns = tuple(rows[0]) if rows else ()
    values = np.array([[row[name] for name in columns] for row in rows], dtype=np.float64)
    sequences = {}
    for name, s in config.sequences.items():
        horizon = None if s.horizon is None else parse_span(s.horizon)
        found_B = [ask.sequence(s.key, s.of, s.length, horizon) for ask in asks]
        sequences[name] = _padded(found_B, s.length)
    return FeatureTable(columns, values.reshape(len(rows), len(columns)), at_B, sequences)


def joined(tables: Sequence[FeatureTable]) -> FeatureTable:
    """Tables one below the other."""
    first = tables[0]
    sequences = {
        name: Sequences(
            **{a: np.concatenate([getattr(t.sequences[name], a) for t in tables]) for a in ARRAYS}
        )
        for name in first.sequences
    }
    return FeatureTable(
        first.columns,
        np.concatenate([table.values_BF for table in tables]),
        np.concatenate([table.as_of_B for table in tables]),
        sequences,
    )


def assert_same_tables(
    found: FeatureTable,
    wanted: FeatureTable,
    *,
    columns: Sequence[str] | None = None,
    sequences: bool = True,
) -> None:
    """Fail unless both agree bit for bit on the columns of `wanted`, or on `columns`.

    Args:
        found: what is tried; it may have more columns.
        wanted: what is right.
        columns: look at these alone.
        sequences: compare the sequences, too.
    """
    np.testing.assert_array_equal(found.as_of_B, wanted.as_of_B)
    names = list(wanted.columns if columns is None else columns)
    mine = found.values_BF[:, [found.columns.index(name) for name in names]]
    other = wanted.values_BF[:, [wanted.columns.index(name) for name in names]]
    assert mine.dtype == np.float64
    differ = _bits(mine) != _bits(other)
    if differ.any():
        shown = [
            f"row {row}, {names[column]}: got {mine[row, column]!r}, not {other[row, column]!r}"
            for row, column in np.argwhere(differ)[:8].tolist()
        ]
        different = [names[column] for column in np.flatnonzero(differ.any(axis=0)).tolist()]
        lines = "\n".join([f"{differ.sum()} of {differ.size} values differ", *shown])
        raise AssertionError(f"{lines}\nin the columns {', '.join(different[:20])}")
    if not sequences:
        return
    assert set(found.sequences) == set(wanted.sequences)
    for name, sequence in wanted.sequences.items():
        for array in ARRAYS:
            got: Any = getattr(found.sequences[name], array)
            np.testing.assert_array_equal(got, getattr(sequence, array), f"{name}.{array}")


def _bits(values: np.ndarray) -> np.ndarray:
    """As integers, every NaN alike; 0.0 and -0.0 are different."""
    return np.where(np.isnan(values), np.nan, values).view(np.int64)


def _known(index: int) -> int | None:
    return None if index < 0 else index


def _padded(rows: Sequence[Sequence[tuple[int, int, int, int, int]]], length: int) -> Sequences:
    empty = {"item_BL": -1, "time_BL": 0, "kind_BL": -1, "domain_BL": -1, "dwell_BL": -1}
    arrays = {
        name: np.array(
            [[blank] * (length - len(row)) + [event[place] for event in row] for row in rows],
            dtype=np.int64,
        ).reshape(len(rows), length)
        for place, (name, blank) in enumerate(empty.items())
    }
    return Sequences(**arrays, mask_BL=arrays["kind_BL"] >= 0)
