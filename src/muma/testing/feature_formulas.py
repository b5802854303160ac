"""The columns of each family, from their docstrings: `formula(config, ask) -> {column: value}`.

Formulas finish in floats with the operations in the order that the family states, so that equal
means equal. A request without a feature's key gets NaN, which `Ask` hands on by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

from muma.features.span import parse_span, show_span
from muma.features.window import AllTime, Gap, Window, parse_window
from muma.testing.feature_reference import MICROSECONDS, NAN, SIZE, STEPS, WEIGHTS, Ask
from muma.testing.feature_sketch import estimate, registers

Columns = dict[str, float]
Formula = Callable[[Any, Ask], Mapping[str, float]]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def label(kind: str) -> str:
    """How columns name a kind of key."""
    return kind.replace(" x ", "_")


def ratio(top: float, bottom: float) -> float:
    """`top / bottom`; NaN unless the bottom is above 0."""
    return top / bottom if bottom > 0 else NAN


def count(config: Any, ask: Ask) -> Columns:
    """How many."""
    return {
        f"{label(kind)}.{of}.count.{window.label}": ask.total(kind, window, of)
        for kind, of, window in _block(config)
    }


def total(config: Any, ask: Ask) -> Columns:
    """Sum of a measure in natural units."""
    name, unit, size = _measure(config)
    return {
        f"{label(kind)}.{of}.{name}.sum.{window.label}": ask.total(kind, window, of, name, unit)
        * size
        for kind, of, window in _block(config)
    }


def mean(config: Any, ask: Ask) -> Columns:
    """Sum over how many have the measure."""
    name, unit, size = _measure(config)
    return {
        f"{label(kind)}.{of}.{name}.mean.{window.label}": ratio(
            ask.total(kind, window, of, name, unit), ask.many(kind, window, of, name)
        )
        * size
        for kind, of, window in _block(config)
    }


def spread(config: Any, ask: Ask) -> Columns:
    """Standard deviation of the population."""
    name, unit, size = _measure(config)
    found = {}
    for kind, of, window in _block(config):
        n = ask.many(kind, window, of, name)
        middle = ratio(ask.total(kind, window, of, name, unit), n)
        square = ratio(ask.total(kind, window, of, name, unit, power=2), n)
        inside = square - middle * middle
        value = NAN if math.isnan(inside) else math.sqrt(max(inside, 0.0)) * size
        found[f"{label(kind)}.{of}.{name}.std.{window.label}"] = value
    return found


def extremes(config: Any, ask: Ask) -> Columns:
    """Lowest and highest."""
    name, unit, size = _measure(config)
    found = {}
    for kind, of, window in _block(config):
        stem = f"{label(kind)}.{of}.{name}"
        for which, called in ((min, "min"), (max, "max")):
            value = ask.extreme(which, kind, window, of, name, unit)
            found[f"{stem}.{called}.{window.label}"] = value * size
    return found


def rate(config: Any, ask: Ask) -> Columns:
    """Posterior mean under a Beta prior."""
    found = {}
    prior = config.prior_rate * config.prior_trials
    for kind, (top, bottom), text in product(config.keys, config.pairs, config.windows):
        window = parse_window(text)
        trials = ask.total(kind, window, bottom) + config.prior_trials
        value = ratio(ask.total(kind, window, top) + prior, trials)
        found[f"{label(kind)}.{top}_per_{bottom}.rate.{window.label}"] = value
    return found


def recency(config: Any, ask: Ask) -> Columns:
    """Seconds since the last event."""
    return {
        f"{label(kind)}.{of}.recency_s.{window.label}": (
            ask.at - ask.extreme(max, kind, window, of, "time")
        )
        / MICROSECONDS
        for kind, of, window in _block(config)
    }


def distinct(config: Any, ask: Ask) -> Columns:
    """About how many different ids."""
    found = {}
    for kind, of, window in _block(config):
        ids = {number for _, number in ask.ids(kind, window, of, config.what)}
        value = NAN if ask.key(kind) is None else estimate(registers(ids, config.registers))
        found[f"{label(kind)}.{of}.distinct_{config.what}.{window.label}"] = value
    return found


def topk(config: Any, ask: Ask) -> Columns:
    """Most frequent categories and their shares; equal counts go to the lower index."""
    found = {}
    for kind, of, window in _block(config):
        pairs: dict[int, list[tuple[int, int]]] = {}
        for time, category in ask.ids(kind, window, of, "category"):
            pairs.setdefault(min(category, config.buckets - 1), []).append((time, 1))
        counts = {place: ask.weighed(pairs[place], window) for place in sorted(pairs)}
        whole = 0.0
        for value in counts.values():
            whole += value
        best = sorted((-value, place) for place, value in counts.items() if value > 0)
        for rank in range(1, config.k + 1):
            value, place = best[rank - 1] if rank <= len(best) else (NAN, NAN)
            stem = f"{label(kind)}.{of}.top{rank}"
            found[f"{stem}_category.{window.label}"] = float(place)
            found[f"{stem}_share.{window.label}"] = ratio(-value, whole)
    return found


def share(config: Any, ask: Ask) -> Columns:
    """The pair's part of its first component's events."""
    return {
        f"{label(kind)}.{of}.share.{window.label}": ratio(
            ask.total(kind, window, of), ask.total(kind.split(" x ")[0], window, of)
        )
        for kind, of, window in _block(config)
    }


def session(config: Any, ask: Ask) -> Columns:
    """The open session and the last closed one."""
    found, member = {}, config.member
    for kind, which in product(config.keys, config.which):
        window = Gap(parse_span(config.gap), which, member, parse_span(config.horizon))
        start = ask.extreme(min, kind, window, member, "time")
        end = ask.extreme(max, kind, window, member, "time")
        dwell = ask.total(kind, window, member, "dwell_ms")
        values = {
            "events": ask.total(kind, window, member),
            "length_s": (end - start) / MICROSECONDS,
            "since_start_s": (ask.at - start) / MICROSECONDS,
            "since_end_s": (ask.at - end) / MICROSECONDS,
            "dwell_ms": dwell,
            "dwell_mean_ms": ratio(dwell, ask.many(kind, window, member, "dwell_ms")),
            **{f"n_{of}": ask.total(kind, window, of) for of in config.counts},
        }
        stem = f"{label(kind)}.session"
        found |= {f"{stem}.{name}.{which}{show_span(window.gap)}": v for name, v in values.items()}
    return found


def item_age(config: Any, ask: Ask) -> Columns:
    """Age of an item and 2^(-age / half-life) by the table of weights."""
    published = ask.world.attribute(ask.item, "published")
    seen = ask.extreme(min, "item", AllTime(), "any", "time")
    born = seen if config.born == "first_seen" else NAN
    if config.born != "first_seen" and published is not None:
        born = float(published)
    elif config.born == "either":
        born = seen
    age = ask.at - born
    life = parse_span(config.half_life)
    names = ("item.age_s", f"item.freshness.{show_span(life)}")
    if ask.item is None or not age >= 0:
        return dict.fromkeys(names, NAN)
    halvings, rest = divmod(int(age), life)
    step = rest * STEPS // life
    weight = 1.0 if step == 0 else WEIGHTS[STEPS - step] / 8192
    return dict(
        zip(names, (age / MICROSECONDS, math.ldexp(weight, -min(halvings, 1000))), strict=True)
    )


def clock(config: Any, ask: Ask) -> Columns:
    """Local hour and weekday, by the calendar of the standard library."""
    local = EPOCH + timedelta(microseconds=ask.at) + timedelta(hours=config.utc_offset_hours)
    turn = 2 * math.pi * local.hour / 24
    return {
        "clock.hour": float(local.hour),
        "clock.hour_sin": math.sin(turn),
        "clock.hour_cos": math.cos(turn),
        "clock.weekday": float(local.weekday()),
        "clock.weekend": float(local.weekday() >= 5),
    }


def gaze(config: Any, ask: Ask) -> Columns:
    """Dwell in an area and its share; NaN without a fixation."""
    found = {}
    for kind, area, window in _block(config):
        inside = ask.total(kind, window, area, "dwell_ms")
        whole = ask.total(kind, window, config.whole, "dwell_ms")
        some = ask.many(kind, window, config.whole, "dwell_ms") > 0
        stem = f"{label(kind)}.gaze.{area}"
        found[f"{stem}.dwell_ms.{window.label}"] = inside if some else NAN
        found[f"{stem}.share.{window.label}"] = ratio(inside, whole)
    return found


FAMILIES = "muma.features.families"
FORMULAS: dict[str, Formula] = {
    f"{FAMILIES}.clock.Clock": clock,
    f"{FAMILIES}.count.Count": count,
    f"{FAMILIES}.distinct.Distinct": distinct,
    f"{FAMILIES}.extremes.MinMax": extremes,
    f"{FAMILIES}.gaze.Gaze": gaze,
    f"{FAMILIES}.item_age.ItemAge": item_age,
    f"{FAMILIES}.mean.Mean": mean,
    f"{FAMILIES}.rate.Rate": rate,
    f"{FAMILIES}.recency.Recency": recency,
    f"{FAMILIES}.session.Session": session,
    f"{FAMILIES}.share.Share": share,
    f"{FAMILIES}.spread.StdDev": spread,
    f"{FAMILIES}.topk.TopK": topk,
    f"{FAMILIES}.total.Sum": total,
}
"""By the import path that a recipe's `use` gives."""


def _block(config: Any) -> Iterator[tuple[str, str, Window]]:
    for kind, of, text in product(config.keys, config.of, config.windows):
        yield kind, of, parse_window(text)


def _measure(config: Any) -> tuple[str, int, float]:
    return config.measure, config.unit, SIZE.get(config.measure, 1.0) * config.unit
