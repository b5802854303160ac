"""Clocks of a service: this machine's, or one that goes on where a log ends, at its own pace.

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


class LogClock:
    """Stands until `go`, and then runs.

    Args:
        start: where it stands, UTC microseconds.
        speed: seconds that it runs in one of ours.
        elapsed_ns: a steady count of nanoseconds.

    Example:
        >>> passed = [0]
        >>> clock = LogClock(1_000_000, speed=60, elapsed_ns=lambda: passed[0])
        >>> clock.not_before(2_000_000)
        >>> clock.go()
        >>> passed[0] = 1_000_000_000
        >>> clock()
        62000000
    """

    def __init__(
        self, start: int, *, speed: float = 1.0, elapsed_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._start, self._speed, self._elapsed_ns = start, speed, elapsed_ns
        self._began: int | None = None

    def not_before(self, at: int) -> None:
        """Stand at `at`, if that is later; nothing once it runs."""
        if self._began is None:
            self._start = max(self._start, at)

    def go(self) -> None:
        """Run from now on."""
        if self._began is None:
            self._began = self._elapsed_ns()

    def __call__(self) -> int:
        """UTC microseconds."""
        if self._began is None:
            return self._start
        return self._start + int((self._elapsed_ns() - self._began) * self._speed / 1_000)


def log_clock(log: EventLog, until: int | None = None, *, speed: float = 1.0) -> LogClock:
    """A clock that stands at `until`, or just after the log's last event.

    Raises:
        ConfigError: the log holds no event, or the speed is not positive.
    """
    if not speed > 0:
        raise ConfigError(f"the clock's speed is {speed}; it must be above 0")
    last = log.events.select(pl.col("timestamp").max()).collect().item()
    if last is None:
        raise ConfigError("the log holds no event; there is no moment to begin at")
    return LogClock(int(last) + 1 if until is None else until, speed=speed)
