"""Events as the integers that states take: the one place where both engines read an event.

A filter on kind and domain is a bit looked up in a table; context and area are Polars expressions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl

from muma.events.event import DOMAINS, EventLog
from muma.events.stream import ACTIONS, FIXATION, STREAM_COLUMNS
from muma.features.catalogue import Catalogue
from muma.features.followers import Followers
from muma.features.keys import KeyKind, pack
from muma.features.kind_plan import Write
from muma.features.plan import Plan
from muma.features.sketch_hash import coupons

_BASE = {
    "dwell_ms": pl.col("dwell_ms").cast(pl.Int64).fill_null(-1),
    "position": pl.col("position").cast(pl.Int64).fill_null(-1),
    "completion": (
        pl.when(pl.col("item_duration_ms") > 0)
        .then(pl.col("dwell_ms").cast(pl.Int64) * 1000 // pl.col("item_duration_ms"))
        .fill_null(-1)
    ),
    "value": pl.col("value").cast(pl.Float64),
}


@dataclass(frozen=True)
class Prepared:
    """N events, ready to be written.

    Shape:
        time_N: int64 microseconds. bits_WN: uint64, bit `w % 64` of word `w // 64` is write `w`.
        columns_CN: int64, by `Plan.event_columns`.
        keys: kind of key -> (event places int64 [M] or None for all N in order, uint64 keys [M]).
        packed_N, dwell_N: int64 words of sequence entries.
    """

    time_N: np.ndarray
    bits_WN: np.ndarray
    columns_CN: np.ndarray
    keys: Mapping[str, tuple[np.ndarray | None, np.ndarray]]
    packed_N: np.ndarray
    dwell_N: np.ndarray

    def __len__(self) -> int:
        return len(self.time_N)


@lru_cache(maxsize=16)
def expressions(plan: Plan) -> list[pl.Expr]:
    """What must be selected of a frame of events for `prepare`; see `STREAM_COLUMNS`."""
    needed = {column.measure.column for column in plan.event_columns} | {
        w.needs for w in plan.writes
    }
    chosen = [
        pl.col("timestamp").cast(pl.Int64),
        pl.col("user_id").cast(pl.Int64).fill_null(-1),
        pl.col("item_id").cast(pl.Int64).fill_null(-1),
        pl.col("kind").cast(pl.Enum(ACTIONS)).to_physical().alias("kind"),
        pl.col("domain")
        .cast(pl.Enum(DOMAINS))
        .to_physical()
        .fill_null(DOMAINS.index("other"))
        .alias("domain"),
    ]
    if plan.sequences:
        needed.add("dwell_ms")
    chosen += [expr.alias(f"_{name}") for name, expr in _BASE.items() if name in needed]
    for name, where in plan.filters.items():
        if not any(write.where == name for write in plan.writes):
            continue
        tests = where.details()
        if tests:
            chosen.append(pl.all_horizontal(tests).fill_null(False).alias(f"_where_{name}"))
    return chosen


def frame_of(log: EventLog, plan: Plan) -> pl.LazyFrame:
    """The log's events and fixations in one frame with what `prepare` reads, in no set order."""
    parts = [selected(log.events, plan)]
    if any(FIXATION in plan.filters[write.where].kinds for write in plan.writes):
        parts.append(selected(fixations(log), plan))
    return pl.concat(parts)


def as_stream(log: EventLog) -> pl.LazyFrame:
    """The log's events and fixations as one stream in order of time (`STREAM_COLUMNS`)."""
    own = [name for name in log.events.collect_schema() if _streamed(name)]
    events = log.events.select(own).with_columns(pl.col("kind").cast(pl.Enum(ACTIONS)))
    return pl.concat([events, fixations(log)], how="diagonal").sort(
        "timestamp", maintain_order=True
    )


def fixations(log: EventLog) -> pl.LazyFrame:
    """The log's gaze table as events of kind `fixation`."""
    return log.gaze.select(
        "user_id", "item_id", "x", "y",
        pl.col("start").alias("timestamp"),
        pl.col("duration_ms").alias("dwell_ms"),
        pl.lit(FIXATION, pl.Enum(ACTIONS)).alias("kind"),
        pl.lit("other", pl.Enum(DOMAINS)).alias("domain"),
    )  # fmt: skip


def prepare(
    frame: pl.DataFrame, plan: Plan, catalogue: Catalogue, followers: Followers
) -> Prepared:
    """Turn events into writes.

    Args:
        frame: events as `selected` leaves them.
        plan: the features.
        catalogue: attributes of items.
        followers: who follows whom.
    """
    arrays = {name: frame.get_column(name).to_numpy() for name in frame.columns}
    time, user, item = arrays["timestamp"], arrays["user_id"], arrays["item_id"]
    kind, domain = arrays["kind"].astype(np.int64), arrays["domain"].astype(np.int64)
    n = len(time)
    ids = {
        "user": user,
        "item": item,
        "author": catalogue.of_items(catalogue.author_I, item),
        "category": catalogue.of_items(catalogue.category_I, item),
    }
    base = {name[1:]: arrays[name] for name in arrays if name.startswith("_") and name[1:] in _BASE}
    valid = {name: values >= 0 for name, values in base.items() if name != "value"}
    if "value" in base:
        valid["value"] = np.isfinite(base["value"])
        scaled = np.rint(np.where(valid["value"], base["value"], 0.0) * 1000.0)
        base["value"] = np.clip(scaled, -(2**52), 2**52).astype(np.int64)
    for name, values in ids.items():
        valid[name] = values >= 0
    base["time"] = time

    columns = np.zeros((len(plan.event_columns), n), dtype=np.int64)
    for row, column in enumerate(plan.event_columns):
        name = column.measure.column
        if name == "one":
            columns[row] = 1
        elif name in ids:
            columns[row] = coupons(ids[name]) if column.hashed else ids[name]
        else:
            columns[row] = column.measure.of(base[name])
    bits = _bits(plan, kind, domain, valid, arrays)
    packed = (item + 1) << 16 | kind << 8 | domain
    dwell = base.get("dwell_ms", np.full(n, -1, dtype=np.int64))
    parts = ids | {"domain": domain, "global": np.zeros(n, dtype=np.int64)}
    return Prepared(time, bits, columns, _keys(plan, parts, followers, time), packed, dwell)


def components(
    plan: Plan, catalogue: Catalogue, user_B: np.ndarray, item_B: np.ndarray
) -> dict[str, np.ndarray]:
    """Components of keys that a request reads (int64 [B], -1 for none)."""
    found = {
        "user": user_B,
        "item": item_B,
        "author": catalogue.of_items(catalogue.author_I, item_B),
        "category": catalogue.of_items(catalogue.category_I, item_B),
        "domain": catalogue.of_items(catalogue.domain_I, item_B),
        "global": np.zeros(len(user_B), dtype=np.int64),
        "friends": user_B,
    }
    return {name: found[name] for name in plan.components}


def _keys(
    plan: Plan, parts: Mapping[str, np.ndarray], followers: Followers, time: np.ndarray
) -> dict[str, tuple[np.ndarray | None, np.ndarray]]:
    keys: dict[str, tuple[np.ndarray | None, np.ndarray]] = {}
    spread: tuple[np.ndarray, np.ndarray] | None = None
    for kind in plan.kinds:
        key: KeyKind = kind.key
        if "friends" in key.components:
            spread = spread or followers.spread(parts["user"], time)
            event, follower = spread
            chosen = [follower, *(parts[name][event] for name in key.components[1:])]
            packed, present = pack(chosen)
            keys[kind.name] = (event[present], packed[present])
            continue
        packed, present = pack([parts[name] for name in key.components])
        if present.all():
            keys[kind.name] = (None, packed)
        else:
            keys[kind.name] = (np.flatnonzero(present), packed[present])
    return keys


def _bits(
    plan: Plan,
    kind: np.ndarray,
    domain: np.ndarray,
    valid: Mapping[str, np.ndarray],
    arrays: Mapping[str, np.ndarray],
) -> np.ndarray:
    table, hidden = _bit_table(plan)
    bits = table[:, kind, domain]
    for (sort, name), guarded in hidden.items():
        holds = valid[name] if sort == "has" else arrays[f"_where_{name}"]
        for word, mask in enumerate(guarded):
            if mask:
                bits[word][~holds] &= ~mask
    return bits


@lru_cache(maxsize=16)
def _bit_table(plan: Plan) -> tuple[np.ndarray, dict[tuple[str, str], np.ndarray]]:
    """Bits by kind and domain, uint64 [W, kinds, domains]; and the bits that something else guards."""
    words = max(1, -(-len(plan.writes) // 64))
    table = np.zeros((words, len(ACTIONS), len(DOMAINS)), dtype=np.uint64)
    hidden: dict[tuple[str, str], np.ndarray] = {}  # what must hold beside -> bits it guards
    for place, write in enumerate(plan.writes):
        where, word = plan.filters[write.where], place // 64
        bit = np.uint64(1) << np.uint64(place % 64)
        for a, action in enumerate(ACTIONS):
            for d, name in enumerate(DOMAINS):
                if where.takes(action, name):
                    table[word, a, d] |= bit
        for guard in _guards(write, plan):
            hidden.setdefault(guard, np.zeros(words, dtype=np.uint64))[word] |= bit
    return table, hidden


def _guards(write: Write, plan: Plan) -> list[tuple[str, str]]:
    where = plan.filters[write.where]
    guards = [] if write.needs in ("one", "time") else [("has", write.needs)]
    return [*guards, ("where", write.where)] if where.context or where.area else guards


def selected(frame: pl.LazyFrame, plan: Plan) -> pl.LazyFrame:
    """What `prepare` reads of events (`STREAM_COLUMNS`); a column that the frame lacks is null."""
    chosen = expressions(plan)
    present = set(frame.collect_schema().names())
    asked = {name for expr in chosen for name in expr.meta.root_names()}
    absent = [
        pl.lit(None, dtype=STREAM_COLUMNS.get(name, pl.String)).alias(name)
        for name in sorted(asked - present)
    ]
    return frame.with_columns(absent).select(*chosen)


def _streamed(column: str) -> bool:
    return column in STREAM_COLUMNS or column.startswith("ctx_")
