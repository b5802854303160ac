"""Clocks of a service: this machine's, or one that begins where a log ends and runs at its own pace.

A factory is named by its import path, so that nobody is there to hand it a clock; this is where it gets one.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import polars as pl

from muma.errors import ConfigError
from muma.events.event import EventLog


def machine_clock() -> int:
    """UTC microseconds."""
    return time.time_ns() // 1_000


def log_clock(log: EventLog, until: int | None = None) -> Callable[[], int]:
    """A clock that stands at `until`, or just after the log's last event, when it is made.

    Raises:
        ConfigError: the log holds no event.
    """
    last = log.events.select(pl.col("timestamp").max()).collect().item()
    if last is None:
        raise ConfigError("the log holds no event; there is no moment to begin at")
    start, began = int(last) + 1 if until is None else until, time.monotonic_ns()
    return lambda: start + (time.monotonic_ns() - began) // 1_000
