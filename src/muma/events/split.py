"""Train, validation and test parts of a log, and the warm and cold views of the test part.

`GlobalTime` is the default: one pair of moments cuts everybody's events, as a deployed system would
see them. `LeaveLastOut` exists for comparison with the literature; it lets models see other users'
future.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import polars as pl
from pydantic import Field, model_validator

from muma.config import Config
from muma.errors import DataError
from muma.events.event import EventLog

View = Literal["all", "warm_user", "cold_user", "cold_item"]
VIEWS: tuple[View, ...] = get_args(View)


@dataclass(frozen=True)
class Split:
    """Three logs over the same vocabularies.

    Attributes:
        train: fit on this.
        validation: choose hyper-parameters on this.
        test: report on this, once.
        validation_start: UTC microseconds of the first cut, None when there is no common moment.
        test_start: UTC microseconds of the second cut, None likewise.
    """

    train: EventLog
    validation: EventLog
    test: EventLog
    validation_start: int | None = None
    test_start: int | None = None

    @property
    def before_test(self) -> EventLog:
        """Train and validation together, for the refit before testing."""
        events = pl.concat([self.train.events, self.validation.events], how="diagonal")
        return self.train.with_events(events.sort("timestamp", maintain_order=True))

    def view(self, name: View, *, history: EventLog | None = None) -> EventLog:
        """Test events of one kind of user or item.

        Args:
            name: `warm_user` / `cold_user`: the user has / has no event in `history`; `cold_item`:
                the item has none; `all`: everything.
            history: what counts as known; default train and validation.
        """
        known = (history or self.before_test).events
        users = known.select("user_id").unique()
        items = known.select("item_id").unique()
        test = self.test.events
        if name == "warm_user":
            test = test.join(users, on="user_id", how="semi", maintain_order="left")
        elif name == "cold_user":
            test = test.join(users, on="user_id", how="anti", maintain_order="left")
        elif name == "cold_item":
            test = test.join(items, on="item_id", how="anti", maintain_order="left")
        return self.test.with_events(test)


class Splitter(Protocol):
    """Cuts a log in three."""

    def split(self, log: EventLog) -> Split:
        """Cut `log`.

        Raises:
            DataError: a part would be empty.
        """
        ...


class GlobalTimeConfig(Config):
    """Shares of the events, earliest first; the rest is the test part (paper 5.1: 70/15/15).

    Attributes:
        train: share of the training part.
        validation: share of the validation part.
        ignore_inferred: compute the cuts from events with true times only.
    """

    train: float = Field(default=0.70, gt=0, lt=1)
    validation: float = Field(default=0.15, gt=0, lt=1)
    ignore_inferred: bool = True

    @model_validator(mode="after")
    def _leaves_a_test_part(self) -> GlobalTimeConfig:
        if self.train + self.validation >= 1:
            raise ValueError("train + validation must leave something for test")
        return self


class GlobalTime:
    """Cut at two moments; events of equal time fall on the same side."""

    def __init__(self, config: GlobalTimeConfig = GlobalTimeConfig()) -> None:
        self.config = config

    def split(self, log: EventLog) -> Split:
        """Cut at the times below which the shares of events lie."""
        events = log.events
        if self.config.ignore_inferred:
            events = events.filter(~pl.col("time_inferred").fill_null(False))
        times = events.select("timestamp").collect().to_series()
        if times.is_empty():
            raise DataError(
                "no event has a true time to split by; set ignore_inferred = false, or use "
                "muma.events.split.LeaveLastOut"
            )
        first = _quantile(times, self.config.train)
        second = _quantile(times, self.config.train + self.config.validation)
        split = Split(
            log.between(None, first), log.between(first, second), log.between(second, None),
            first, second,
        )  # fmt: skip
        for name in ("train", "validation", "test"):
            if getattr(split, name).events.select(pl.len()).collect().item() == 0:
                raise DataError(
                    f"the {name} part is empty: {len(times):,} events share too few moments; "
                    "change the shares or use muma.events.split.LeaveLastOut"
                )
        return split


class LeaveLastOutConfig(Config):
    """Which events count.

    Attributes:
        kinds: kinds of events that are kept and ordered; the last act of a user is the target.
        fewest: users with fewer acts stay in training whole.
    """

    kinds: tuple[str, ...] = (
        "click", "play", "long_view", "like", "share", "comment", "follow", "conversion", "rating",
        "purchase",
    )  # fmt: skip
    fewest: int = Field(default=3, ge=3)


class LeaveLastOut:
    """Per user: the last act is test, the one before validation; equal times in file order.

    Events of one user and item that share a request, or else the moment, are one act and stay
    together: the click, the play and the like of one impression.
    """

    def __init__(self, config: LeaveLastOutConfig = LeaveLastOutConfig()) -> None:
        self.config = config

    def split(self, log: EventLog) -> Split:
        """Cut every user's sequence."""
        kept = log.events.filter(pl.col("kind").cast(pl.String).is_in(self.config.kinds)).collect()
        if kept.is_empty():
            raise DataError(f"no event is of the kinds {', '.join(self.config.kinds)}")
        moment = pl.coalesce("request_id", pl.col("timestamp").cast(pl.String))
        first = pl.col("at").min().over("user_id", "item_id", moment)
        acts = kept.with_row_index("at").select("user_id", first=first)
        number = pl.col("first").rank("dense").over("user_id")
        total = pl.col("first").n_unique().over("user_id")
        left = (total.cast(pl.Int64) - number.cast(pl.Int64)).alias("left")
        enough = total >= self.config.fewest
        place = acts.select(pl.when(enough).then(left).otherwise(2)).to_series()
        if not (place == 0).any():
            raise DataError(f"no user has {self.config.fewest} events")
        train, validation, test = (
            log.with_events(kept.filter(which).lazy())
            for which in (place > 1, place == 1, place == 0)
        )
        return Split(train, validation, test)


def _quantile(times: pl.Series, share: float) -> int:
    """Time below which `share` of the events lie."""
    ordered = times.sort()
    return int(ordered[min(int(share * len(ordered)), len(ordered) - 1)])


def spans(logs: Sequence[EventLog]) -> list[tuple[int, int | None, int | None]]:
    """Events, first and last time (UTC microseconds) of each log."""
    time = pl.col("timestamp")
    return [
        log.events.select(pl.len(), time.min().alias("first"), time.max().alias("last"))
        .collect()
        .row(0)
        for log in logs
    ]
