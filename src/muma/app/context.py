"""What the request itself says (page, device, slot), as columns of the impressions' rows.

The event log keeps it in columns `ctx_NAME` of the impressions; a request hands it over by name. Words
become codes, as in `attributes.py`; what is not given is missing.

Shape: N rows, C columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from muma.app.judged import Judged
from muma.errors import ConfigError, DataError
from muma.events.event import EventLog

PREFIX = "ctx_"


@dataclass(frozen=True)
class RequestContext:
    """Context of impressions, and how to read a new request's.

    Attributes:
        columns: `context.NAME`.
        categorical: the columns that hold codes.
        names: as the request gives them, without `ctx_`.
        codes: name -> word -> code, for the columns of words.
    """

    columns: tuple[str, ...]
    categorical: tuple[str, ...]
    names: tuple[str, ...]
    codes: Mapping[str, Mapping[str, int]]
    log: EventLog

    def of_rows(self, rows: Judged) -> np.ndarray:
        """What was said at each impression, float32 [N, C]; NaN where nothing was."""
        found_NC = np.full((len(rows), len(self.names)), np.nan, dtype=np.float32)
        if not self.names:
            return found_NC
        key = ["user_id", "item_id", "timestamp"]
        fields = [PREFIX + name for name in self.names]
        events = self.log.events.filter(pl.col("kind") == "impression").select(*key, *fields)
        carried = events.unique(key, keep="last").collect()
        shown = rows.frame().cast(carried.select(key).schema)
        joined = shown.join(carried, on=key, how="left", maintain_order="left")
        for place, name in enumerate(self.names):
            values = joined[PREFIX + name]
            if name in self.codes:
                values = values.cast(pl.String).replace_strict(self.codes[name], default=None)
            found_NC[:, place] = values.cast(pl.Float32).fill_null(float("nan")).to_numpy()
        return found_NC

    def of_request(self, given: Mapping[str, float | str]) -> np.ndarray:
        """One request's, float32 [C]; NaN for what it does not say, or a word never seen.

        Raises:
            DataError: a name that was not learned from, or a value of the wrong type.
        """
        if unknown := [name for name in given if name not in self.names]:
            allowed = ", ".join(self.names) or "none; the recipe's ranking.context is empty"
            raise DataError(f"there is no request context {unknown[0]!r}; known: {allowed}")
        found_C = np.full(len(self.names), np.nan, dtype=np.float32)
        for place, name in enumerate(self.names):
            if name not in given:
                continue
            if name in self.codes:
                found_C[place] = self.codes[name].get(str(given[name]), np.nan)
                continue
            try:
                found_C[place] = float(given[name])
            except ValueError:
                found_C[place] = np.inf
            if np.isinf(found_C[place]):
                raise DataError(f"request context {name!r} is {given[name]!r}; it is a number")
        return found_C


def request_context(log: EventLog, names: Sequence[str]) -> RequestContext:
    """Read which columns there are, and the codes of words.

    Args:
        log: the event log; words are numbered by their order among all impressions' values.
        names: with or without `ctx_`.

    Raises:
        ConfigError: the log has no such column, or it holds lists.
    """
    short = tuple(name.removeprefix(PREFIX) for name in names)
    schema = log.events.collect_schema()
    known = [name.removeprefix(PREFIX) for name in schema if name.startswith(PREFIX)]
    codes: dict[str, dict[str, int]] = {}
    for name in short:
        if name not in known:
            allowed = ", ".join(known) or "none"
            raise ConfigError(
                f"ranking.context: events carry no context {name!r}; the log has: {allowed}"
            )
        kind = schema[PREFIX + name]
        if kind.is_nested():
            raise ConfigError(f"ranking.context: {name!r} holds lists; name a plain column")
        if not (kind.is_numeric() or kind == pl.Boolean):
            shown = log.events.filter(pl.col("kind") == "impression")
            column = pl.col(PREFIX + name).cast(pl.String)
            words = shown.select(column).unique().drop_nulls().collect().to_series().sort()
            codes[name] = {word: code for code, word in enumerate(words)}
    columns = tuple(f"context.{name}" for name in short)
    coded = tuple(f"context.{name}" for name in short if name in codes)
    return RequestContext(columns, coded, short, codes, log)
