"""Names of groups, features, times and sources in words for a reader of the page."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from muma.ranking.phrases import WordsConfig
from muma.ranking.units import duration, number, share, window

GROUPS: Mapping[str, str] = {
    "interest": "interest now",
    "candidates": "the sources",
    "gaze": "where eyes rested",
    "social": "people followed",
    "session": "this session",
    "context": "the moment",
    "profile": "who the viewer is",
    "history": "viewer's history",
    "author": "its author",
    "category": "its category",
    "item": "the item itself",
    "rules": "the editors' rules",
    "other": "anything else",
}
SOURCES: Mapping[str, str] = {
    "rule": "pinned by a rule",
    "rules": "a rule",
    "editors": "the editors' list",
    "newest": "the newest items",
    "caller": "the caller's own",
}
WORDS = WordsConfig(item="item", items="items")
MEASURES: Mapping[str, str] = {
    "dwell_ms": "viewing time",
    "dwell_mean_ms": "mean viewing time",
    "length_s": "length",
    "since_start_s": "time since the start",
    "since_end_s": "time since the last event",
}
MINUS = "\N{MINUS SIGN}"
_NOT_SAID = {"count", "rate", "mean", "session", "gaze"}
_PER = re.compile(r"([a-z_]+)_per_([a-z_]+)$")


def group(name: str) -> str:
    """A group of features.

    Example:
        >>> group("history"), group("house_style")
        ("viewer's history", 'house style')
    """
    return GROUPS.get(name, name.replace("_", " "))


def source(name: str) -> str:
    """A source of candidates.

    Example:
        >>> source("item_knn"), source("editors")
        ('item knn', "the editors' list")
    """
    return SOURCES.get(name, name.replace("_", " "))


def feature(column: str) -> str:
    """A column's name without its key.

    Example:
        >>> feature("user.click.count.7d"), feature("user.click_per_impression.rate.1d")
        ('clicks, last 7 days', 'clicks per impression, last day')
        >>> feature("user.play.dwell_ms.mean.1h"), feature("user.session.n_click.open30m")
        ('mean viewing time of plays, last hour', 'clicks, this session')
        >>> feature("user.click.recency_s.all90d"), feature("user.session.since_end_s.open30m")
        ('time since the last click', 'time since the last event, this session')
        >>> feature("item.age_s"), feature("clock.hour"), feature("candidate.als")
        ('age', 'hour', 'als')
    """
    parts = column.split(".")[1:] or [column]
    if len(parts) > 1 and parts[1] == "recency_s":
        return f"time since the last {WORDS.one(parts[0])}"
    when = _when(parts[-1]) if len(parts) > 1 else ""
    said = [_word(part) for part in parts[: -1 if when else None] if part not in _NOT_SAID]
    text = " ".join(said)
    if len(said) == 2 and parts[0] in WORDS.events:  # a measure of events of one kind
        text = f"{'mean ' if 'mean' in parts else ''}{said[1]} of {said[0]}"
    return f"{text}, {when}" if when else text


def value(column: str, amount: float) -> str:
    """A feature's value with its unit.

    Example:
        >>> value("item.age_s", 90.0), value("user.play.dwell_ms.mean.1h", 12_400.0)
        ('1 min 30 s', '12 s')
        >>> value("user.click_per_impression.rate.1d", 0.347), value("x", float("nan"))
        ('35%', 'unknown')
    """
    if math.isnan(amount):
        return "unknown"
    if _stem(column).endswith("_s"):
        return _length(amount)
    if "_ms" in column:
        return _length(amount / 1000)
    if ".rate." in column or ".share." in column or ".completion." in column:
        return share(amount)
    return number(amount)


def percent(amount: float) -> str:
    """A probability, two digits that matter.

    Example:
        >>> percent(0.4123), percent(0.0123), percent(0.00041), percent(1.0), percent(float("nan"))
        ('41%', '1.2%', '0.041%', '100%', 'unknown')
    """
    if math.isnan(amount):
        return "unknown"
    shown = 100 * amount
    return f"{shown:.0f}%" if shown >= 10 else f"{shown:.2g}%"


def signed(amount: float) -> str:
    """A part of a score, with a true minus.

    Example:
        >>> signed(0.5), signed(-0.123) == f"{MINUS}0.12", signed(0.0), signed(float("nan"))
        ('+0.50', True, '0.00', 'unknown')
    """
    if math.isnan(amount):
        return "unknown"
    text = f"{abs(amount):.2f}"
    return text if float(text) == 0 else ("+" if amount > 0 else MINUS) + text


def when(time_us: int) -> str:
    """A moment.

    Example:
        >>> when(0), when(-1)
        ('1970-01-01 00:00:00 UTC', 'never')
    """
    if time_us < 0:
        return "never"
    return f"{datetime.fromtimestamp(time_us // 1_000_000, tz=UTC):%Y-%m-%d %H:%M:%S} UTC"


def ago(time_us: int, now_us: int) -> str:
    """How long before now.

    Example:
        >>> ago(0, 90_000_000), ago(5, 5)
        ('1 minute ago', 'just now')
    """
    gone = (now_us - time_us) / 1e6
    return "just now" if gone < 1 else f"{duration(gone)} ago"


def milliseconds(amount_us: int) -> str:
    """A stage's time.

    Example:
        >>> milliseconds(1234), milliseconds(56_000), milliseconds(40)
        ('1.2 ms', '56 ms', '0.04 ms')
    """
    shown = amount_us / 1000
    return f"{shown:.0f} ms" if shown >= 10 else f"{shown:.2g} ms"


def setting(amount: Any) -> str:
    """A rule's setting: tables and lists as a reader would write them.

    Example:
        >>> setting({"tags_any": ["war", "gore"], "younger_than_hours": 3})
        'tags any: war, gore; younger than hours: 3'
    """
    if isinstance(amount, Mapping):
        return "; ".join(f"{_plain(str(k))}: {setting(v)}" for k, v in amount.items())
    if isinstance(amount, list | tuple):
        shown = ", ".join(setting(one) for one in amount[:12])
        return f"{shown} and {len(amount) - 12} more" if len(amount) > 12 else shown
    if isinstance(amount, bool):
        return "yes" if amount else "no"
    return str(amount)


def _length(seconds: float) -> str:
    """A length of time in its two largest units, so that a small change shows."""
    if not math.isfinite(seconds):
        return number(seconds)
    if seconds < 60:
        return f"{number(seconds) if seconds < 10 else int(seconds)} s"
    days, rest = divmod(int(seconds), 86_400)
    hours, minutes = rest // 3_600, rest % 3_600 // 60
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest % 60, "s")]
    first = next(n for n, (amount, _) in enumerate(parts) if amount)
    return " ".join(f"{amount} {unit}" for amount, unit in parts[first : first + 2])


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _stem(column: str) -> str:
    stem, _, last = column.rpartition(".")
    return stem if stem and _when(last) else column


def _when(label: str) -> str:
    try:
        return window(label, "last ").removeprefix("in ")
    except ValueError:
        return ""


def _word(part: str) -> str:
    if found := _PER.match(part):
        return f"{_many(found[1])} per {_one(found[2])}"
    bare = part.removeprefix("n_")
    return _many(bare) if bare in WORDS.events else MEASURES.get(part, _plain(_unit(bare)))


def _unit(name: str) -> str:
    return re.sub(r"_(ms|s)$", "", name)


def _many(kind: str) -> str:
    return f"{kind}s" if kind == "impression" else WORDS.many(kind)


def _one(kind: str) -> str:
    return kind if kind == "impression" else WORDS.one(kind)
