"""Lengths of time as people write them: `30s`, `5m`, `1h`, `7d`."""

from __future__ import annotations

import re

from muma.errors import ConfigError

UNITS = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_TEXT = re.compile(r"(\d+)\s*(ms|s|m|h|d)")


def parse_span(text: str) -> int:
    """Microseconds of a length of time.

    Raises:
        ConfigError: it is not a positive whole number with a unit.

    Example:
        >>> parse_span("5m")
        300000000
    """
    found = _TEXT.fullmatch(text.strip())
    if not found or int(found[1]) == 0:
        raise ConfigError(f"{text!r} is not a length of time; write it as 30s, 5m, 1h or 7d")
    return int(found[1]) * UNITS[found[2]]


def show_span(span_us: int) -> str:
    """The shortest way to write a length of time, in whole units.

    Example:
        >>> show_span(7_200_000_000)
        '2h'
    """
    for unit in ("d", "h", "m", "s", "ms"):
        if span_us % UNITS[unit] == 0:
            return f"{span_us // UNITS[unit]}{unit}"
    return f"{span_us}us"
