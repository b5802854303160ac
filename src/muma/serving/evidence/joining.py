"""Tables of decisions, of their features, and of the events that name them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from muma.errors import DataError
from muma.serving.recommending import Evidence

DECISION_COLUMNS: dict[str, type[pl.DataType]] = {
    "request_id": pl.String,
    "time": pl.Int64,
    "slot": pl.Int32,
    "item": pl.String,
    "propensity": pl.Float64,
    "support": pl.Int64,
    "floor": pl.Float64,
    "explored": pl.Boolean,
    "score": pl.Float64,
    "policy": pl.String,  # its version
    "versions": pl.String,  # JSON: of everything behind the answer
    "user": pl.String,
    "degraded": pl.Boolean,
}
"""Columns of every decision; `<kind>_at`, `reward` and `shown` come beside them."""

NEEDED = ("request_id", "item_id", "kind", "timestamp")
NO_EVENTS = pl.DataFrame(
    schema={"request_id": pl.String, "item": pl.String, "kind": pl.String, "timestamp": pl.Int64}
)


def decisions(piece: Sequence[Evidence]) -> pl.DataFrame:
    """One row a slot, columns of `DECISION_COLUMNS`."""
    rows = [
        (
            evidence.ask.request_id, evidence.ask.time, slot, item.item, item.propensity,
            int(evidence.support_K[slot]), evidence.floor, item.explored, item.score,
            evidence.answer.versions.get("policy"), json.dumps(dict(evidence.answer.versions)),
            evidence.ask.user, bool(evidence.answer.degraded),
        )
        for evidence in piece
        for slot, item in enumerate(evidence.answer.items)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=DECISION_COLUMNS, orient="row")


def features(
    piece: Sequence[Evidence], table: pl.DataFrame, places: Mapping[str, int]
) -> list[pl.DataFrame]:
    """Rows of the features that the ranker saw of the shown items, one table for each set of columns.

    Args:
        piece: the decisions.
        table: their rows, in the same order, with rewards.
        places: raw item id -> dense index.

    Returns:
        Float32 columns by their names, beside `_request_id`, `_time`, `_slot`, `_item`,
        `_propensity`, `_reward`, `_shown`. A slot whose item no ranker saw has no row.
    """
    rows: dict[tuple[str, ...], tuple[list[np.ndarray], list[int]]] = {}
    at = 0
    for evidence in piece:
        shown = len(evidence.answer.items)
        where = {int(item): n for n, item in enumerate(evidence.item_N)}
        dense = [places.get(item.item, -1) for item in evidence.answer.items]
        found = [(slot, where[item]) for slot, item in enumerate(dense) if item in where]
        if found and evidence.columns and len(evidence.value_NF):
            values, slots = rows.setdefault(evidence.columns, ([], []))
            values.append(evidence.value_NF[[n for _, n in found]])
            slots += [at + slot for slot, _ in found]
        at += shown
    kept = ["request_id", "time", "slot", "item", "propensity", "reward", "shown"]
    return [
        table[slots]
        .select(pl.col(name).alias(f"_{name}") for name in kept)
        .hstack(pl.from_numpy(np.concatenate(values), schema=list(columns), orient="row"))
        for columns, (values, slots) in rows.items()
    ]


@dataclass
class Events:
    """The events that name a request, and what became of each.

    Attributes:
        frame: `place`, `request_id`, `item`, `kind`, `timestamp`; each once.
        duplicates: how many came again.
        fate_E: of each, what was found: see `FATES`.
    """

    frame: pl.DataFrame
    duplicates: int
    fate_E: np.ndarray

    FATES = ("unknown_request", "unknown_item", "early", "late", "matched")

    @classmethod
    def of(cls, events: pl.DataFrame | Iterable[pl.DataFrame], *, kinds: Sequence[str]) -> Events:
        """Take the events that count.

        Raises:
            DataError: a column is missing.
        """
        pieces = [events] if isinstance(events, pl.DataFrame) else events
        kept = [_named(piece, kinds) for piece in pieces]
        frame = (
            pl.concat(kept)
            if kept
            else _named(pl.DataFrame(schema=dict.fromkeys(NEEDED, pl.String)), kinds)
        )
        once = frame.unique(subset=["name"], keep="first", maintain_order=True).drop("name")
        numbered = once.with_row_index("place")
        return cls(numbered, frame.height - once.height, np.zeros(once.height, dtype=np.int8))

    def join(self, table: pl.DataFrame, horizon: int) -> pl.DataFrame:
        """The events that belong to slots of decisions, of `NO_EVENTS`' columns.

        Args:
            table: the decisions.
            horizon: microseconds after a decision within which an event belongs to it.
        """
        requests = table.select("request_id").unique()
        near = self.frame.join(requests, on="request_id", how="semi")
        self._found(near, "unknown_item")
        slots = near.join(table.select("request_id", "item", "time"), on=["request_id", "item"])
        after = pl.col("timestamp") - pl.col("time")
        for fate, chosen in (
            ("early", slots.filter(after < 0)),
            ("late", slots.filter(after > horizon)),
            ("matched", matched := slots.filter(after.is_between(0, horizon))),
        ):
            self._found(chosen, fate)
        return matched.select(NO_EVENTS.columns)

    def counts(self) -> dict[str, int]:
        """How many events there were, and how many of each fate."""
        found = np.bincount(self.fate_E, minlength=len(self.FATES)).tolist()
        events = self.frame.height + self.duplicates
        return {
            "events": events,
            "duplicates": self.duplicates,
            **dict(zip(self.FATES, found, strict=True)),
        }

    def _found(self, rows: pl.DataFrame, fate: str) -> None:
        self.fate_E[rows.get_column("place").to_numpy()] = self.FATES.index(fate)


def _named(piece: pl.DataFrame, kinds: Sequence[str]) -> pl.DataFrame:
    """Events of some kinds that name a request, with the name by which one that came again is told."""
    if missing := [name for name in NEEDED if name not in piece.columns]:
        raise DataError(f"events lack the column {missing[0]!r}; needed are {', '.join(NEEDED)}")
    frame = piece.select(
        pl.col("request_id").cast(pl.String),
        pl.col("item_id").cast(pl.String).alias("item"),
        pl.col("kind").cast(pl.String),
        pl.col("timestamp").cast(pl.Int64),
        (pl.col("event_id").cast(pl.String) if "event_id" in piece.columns else pl.lit(None, pl.String)).alias("event_id"),
    ).filter(pl.col("request_id").is_not_null() & pl.col("kind").is_in(list(kinds)))  # fmt: skip
    told = pl.concat_str(
        ["request_id", "item", "kind", "timestamp"], separator="\0", ignore_nulls=True
    )
    return frame.with_columns(pl.coalesce("event_id", told).alias("name")).drop("event_id")
