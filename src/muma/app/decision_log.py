"""A log of decisions as a table: one row a shown slot, Parquet or CSV.

    request_id   text or integer   the answer that the slot belongs to
    slot         integer           place in the answer, from 0 or 1; absent: every row is an answer of its own
    item         text or integer   what was shown
    propensity   (0, 1]            chance of that item in that slot, given the slots before
    reward       number            what came back: a click (0 or 1), minutes ...
    time         integer or date   event time, microseconds UTC when an integer; optional
    user         text or integer   whose rows are not independent; optional, and may be empty (a guest)
    ctx_*        numbers or text   what was known before the decision; a reward model may read it
    anything else                  kept, for groups

These are the fields of a `Decision` (`request_id`, slot, `item_K`, `propensity_K`) beside the reward that
came back for each slot, as `muma.serving.evidence` writes them: its folder of `decisions-*.parquet` is a
log too. `LogColumns` says what else the columns may be called.

Shape: B rounds (rows), A actions (items).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from muma.app.log_context import ContextCoder
from muma.config import Config
from muma.errors import SchemaError, SourceError
from muma.evaluation.off_policy.logged import Logged

PARTS = "decisions-*.parquet"


class LogColumns(Config):
    """What the columns of a log are called.

    Attributes:
        request_id, slot, item, propensity, reward, time, user: see the module; the columns called
            `slot`, `time` and `user` may be absent, and `request_id` where there is no slot.
        context: columns that a model may read; None takes those that begin with `ctx_`.
    """

    request_id: str = "request_id"
    slot: str = "slot"
    item: str = "item"
    propensity: str = "propensity"
    reward: str = "reward"
    time: str = "time"
    user: str = "user"
    context: tuple[str, ...] | None = None


@dataclass(frozen=True)
class DecisionLog:
    """A log that was read.

    Attributes:
        logged: for the estimators; actions are numbers of `items`, units users or answers.
        items: names of the A items as text, sorted.
        frame: the table, in the order of `logged`.
        coder: how its context became `logged.context_BF`.
        time_B: event time of each row, int64 microseconds; the row's number without a column of time.
        columns: what was called what.
    """

    logged: Logged
    items: tuple[str, ...]
    frame: pl.DataFrame
    coder: ContextCoder
    time_B: np.ndarray
    columns: LogColumns

    def rows(self, keep_B: np.ndarray) -> DecisionLog:
        """The rows that a mask names."""
        return replace(
            self,
            logged=self.logged.rows(keep_B),
            frame=self.frame.filter(pl.Series(keep_B)),
            time_B=self.time_B[keep_B],
        )

    @property
    def answers(self) -> int:
        """Answers with at least one slot."""
        slate_B = self.logged.slate_B
        return len(self.logged) if slate_B is None else len(np.unique(slate_B))

    @property
    def ranked(self) -> bool:
        """Whether an answer has several slots."""
        return self.answers < len(self.logged)


def read_decisions(
    path: str | Path,
    columns: LogColumns = LogColumns(),
    *,
    items: tuple[str, ...] = (),
    coder: ContextCoder | None = None,
) -> DecisionLog:
    """Read a log and check every row.

    Args:
        path: a `.parquet` or `.csv` (also `.csv.gz`) file, or a folder of `decisions-*.parquet`.
        columns: what its columns are called.
        items: further items, which the log may show or not.
        coder: of the context; None learns one.

    Raises:
        SourceError: the file cannot be read, holds no rows, or a row is wrong (which, and why).
        SchemaError: a column is missing (the nearest name is told) or of the wrong type.
    """
    frame = read_table(path)
    file = str(path)
    for name in ("item", "propensity", "reward"):
        _require(frame, getattr(columns, name), name, file)
    if not len(frame):
        raise SourceError("there are no rows; nothing can be judged", file=file)
    has_slot = columns.slot in frame.columns
    if has_slot:
        _require(frame, columns.request_id, "request_id", file)
    time_B = _times(frame, columns.time)
    propensity_B = _numbers(frame, columns.propensity, file)
    reward_B = _numbers(frame, columns.reward, file)
    # NaN fails every comparison
    _refuse(~((propensity_B > 0) & (propensity_B <= 1)), propensity_B, columns.propensity,
            "in (0, 1]: what was shown had a chance", file)  # fmt: skip
    _refuse(~np.isfinite(reward_B), reward_B, columns.reward,
            "a finite number; leave out rows whose reward is not known yet", file)  # fmt: skip
    shown = frame[columns.item].cast(pl.String)
    if shown.null_count():
        row = int(shown.is_null().arg_max() or 0)
        raise SourceError(f"column {columns.item!r} is empty", file=file, row=row + 1)
    names = tuple(sorted({*items, *shown.unique().to_list()}))
    number = {name: place for place, name in enumerate(names)}
    context = columns.context
    if context is None:
        context = tuple(name for name in frame.columns if name.startswith("ctx_"))
    coder = ContextCoder.learn(frame, context) if coder is None else coder
    slate_B = _codes(frame, columns.request_id, file)
    logged = Logged(
        action_B=np.array([number[name] for name in shown.to_list()], dtype=np.int64),
        reward_B=reward_B,
        propensity_B=propensity_B,
        n_actions=len(names),
        position_B=_slots(frame, columns.slot, file) if has_slot else None,
        unit_B=_units(frame, columns, slate_B),
        context_BF=coder.encode(frame) if coder.codings else None,
        slate_B=slate_B,
    )
    order_B = np.lexsort((np.arange(len(frame)), time_B))
    return DecisionLog(logged.rows(order_B), names, frame[order_B], coder, time_B[order_B], columns)


def read_table(path: str | Path) -> pl.DataFrame:
    """A Parquet or CSV file, or a folder's `decisions-*.parquet` after one another.

    Raises:
        SourceError: it is absent, of another kind, or damaged.
    """
    file = Path(path)
    parts = sorted(file.glob(PARTS)) if file.is_dir() else []
    if not parts and not file.is_file():
        raise SourceError(
            f"there is no such file; name a .parquet or .csv, or a folder with {PARTS}",
            file=str(file),
        )
    try:
        if parts:
            return pl.concat([pl.read_parquet(part) for part in parts], how="vertical_relaxed")
        if file.suffix == ".parquet":
            return pl.read_parquet(file)
        if file.name.endswith((".csv", ".csv.gz")):
            return pl.read_csv(file, infer_schema_length=None)
    except PolarsError as error:
        raise SourceError(f"it cannot be read: {error}", file=str(file)) from None
    raise SourceError("it is neither .parquet nor .csv; convert it", file=str(file))


def _require(frame: pl.DataFrame, column: str, name: str, file: str) -> None:
    if column not in frame.columns:
        near = difflib.get_close_matches(column, frame.columns, 1, 0.5)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise SchemaError(
            f"{file}: there is no column {column!r}{hint}; there are: {', '.join(frame.columns)}. Say "
            f"which one it is: --column {name}=NAME"
        )


def _numbers(frame: pl.DataFrame, column: str, file: str) -> np.ndarray:
    value = frame[column]
    if not (value.dtype.is_numeric() or value.dtype == pl.Boolean):
        raise SchemaError(f"{file}: column {column!r} is {value.dtype}; it must be numbers")
    return value.cast(pl.Float64).to_numpy().astype(np.float64)


def _refuse(wrong_B: np.ndarray, value_B: np.ndarray, column: str, allowed: str, file: str) -> None:
    if wrong_B.any():
        row = int(np.argmax(wrong_B))
        raise SourceError(
            f"column {column!r} is {value_B[row]} ({int(wrong_B.sum())} such rows); allowed is {allowed}",
            file=file, row=row + 1,
        )  # fmt: skip


def _codes(frame: pl.DataFrame, column: str, file: str) -> np.ndarray | None:
    """Numbers for the values of a column; None without it."""
    if column not in frame.columns:
        return None
    if frame[column].null_count():
        row = int(frame[column].is_null().arg_max() or 0)
        raise SourceError(f"column {column!r} is empty", file=file, row=row + 1)
    return frame[column].rank("dense").to_numpy().astype(np.int64) - 1


def _units(
    frame: pl.DataFrame, columns: LogColumns, slate_B: np.ndarray | None
) -> np.ndarray | None:
    """Users; for guests, their answers; None where nobody is told, for then answers are units."""
    if columns.user not in frame.columns or frame[columns.user].null_count() == len(frame):
        return None
    user = frame[columns.user]
    code_B = user.rank("dense").fill_null(0).to_numpy().astype(np.int64) - 1
    answer_B = np.arange(len(frame)) if slate_B is None else slate_B
    return np.where(code_B >= 0, code_B, len(frame) + answer_B)


def _slots(frame: pl.DataFrame, column: str, file: str) -> np.ndarray:
    if frame[column].null_count():
        row = int(frame[column].is_null().arg_max() or 0)
        raise SourceError(f"column {column!r} is empty", file=file, row=row + 1)
    if not frame[column].dtype.is_integer():
        raise SchemaError(
            f"{file}: column {column!r} is {frame[column].dtype}; it must be integers"
        )
    slot_B = frame[column].to_numpy().astype(np.int64)
    return slot_B - min(max(int(slot_B.min()), 0), 1)


def _times(frame: pl.DataFrame, column: str) -> np.ndarray:
    if column not in frame.columns:
        return np.arange(len(frame), dtype=np.int64)
    value = frame[column]
    if value.dtype == pl.String:
        value = value.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
    if value.dtype.is_temporal():
        value = value.dt.epoch("us")
    if not value.dtype.is_integer() or value.null_count():
        raise SchemaError(
            f"column {column!r} is {frame[column].dtype}; times are integers (microseconds), dates with "
            "time, or ISO 8601, without gaps"
        )
    return value.to_numpy().astype(np.int64)
