"""Numbers for readers: durations, shares, windows spelled out."""

from __future__ import annotations

import math
import re

_WINDOW = re.compile(r"(all|decay|open|closed)?(?:(\d+)(ms|s|m|h|d))?")
_UNITS = {"ms": "millisecond", "s": "second", "m": "minute", "h": "hour", "d": "day"}
_STEPS = ((86_400.0, "day"), (3_600.0, "hour"), (60.0, "minute"), (1.0, "second"))


def number(value: float) -> str:
    """At most three digits after the point that matter, thousands apart.

    Example:
        >>> [number(x) for x in (12.0, 1234567.0, 0.5234, -0.00012, 1234.5)]
        ['12', '1,234,567', '0.52', '-0.00012', '1,234']
    """
    if not math.isfinite(value):
        return "unknown" if math.isnan(value) else ("very large" if value > 0 else "very small")
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2g}"


def share(value: float) -> str:
    """A part of one as a percentage.

    Example:
        >>> share(0.347), share(0.004), share(1.0)
        ('35%', '0.4%', '100%')
    """
    if not math.isfinite(value):
        return number(value)
    percent = 100 * value
    return f"{percent:.0f}%" if percent == 0 or abs(percent) >= 1 else f"{percent:.1g}%"


def duration(seconds: float) -> str:
    """A length of time in its largest whole unit, rounded down as people do with ages.

    Example:
        >>> [duration(s) for s in (9.5 * 86_400, 3_600, 90, 12.4, 0.3)]
        ['9 days', '1 hour', '1 minute', '12 seconds', '0.3 seconds']
    """
    if not math.isfinite(seconds):
        return number(seconds)
    for size, unit in _STEPS:
        if abs(seconds) >= size:
            n = int(seconds / size)
            return f"{n:,} {unit}{'' if abs(n) == 1 else 's'}"
    return f"{number(seconds)} seconds"


def window(label: str, before: str = "in the last ") -> str:
    """A column's window label in words.

    Args:
        label: such as `7d`, `all`, `all90d`, `decay1d`, `open30m`.
        before: what comes before a plain length.

    Raises:
        ValueError: it is no window.

    Example:
        >>> [window(x) for x in ("7d", "1h", "all", "all90d", "open30m")]
        ['in the last 7 days', 'in the last hour', 'so far', 'in the last 90 days', 'in this session']
        >>> window("decay2h"), window("1d", "")
        ('lately (halved every 2 hours)', 'day')
    """
    found = _WINDOW.fullmatch(label)
    if not label or found is None or (found[1] in ("decay", None) and found[2] is None):
        raise ValueError(f"{label!r} is no window")
    if found[1] in ("open", "closed"):
        return "in this session" if found[1] == "open" else "in the session before"
    if found[2] is None:
        return "so far"
    length = _UNITS[found[3]] if found[2] == "1" else f"{found[2]} {_UNITS[found[3]]}s"
    return f"lately (halved every {length})" if found[1] == "decay" else f"{before}{length}"
