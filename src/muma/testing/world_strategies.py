"""Worlds that hypothesis builds, and makes smaller when a test fails on one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from muma.events.event import KINDS
from muma.testing.worlds import (
    AUTHORS,
    CATEGORIES,
    DOMAINS,
    DURATIONS,
    DWELLS,
    ITEMS,
    ORIGIN,
    PLACES,
    POSITIONS,
    TABS,
    USERS,
    VALUES,
    World,
    assemble,
)

user, item = st.integers(0, USERS - 1), st.integers(0, ITEMS - 1)
kind = st.sampled_from(("click", "impression", "play", *KINDS))


@st.composite
def worlds(draw: st.DrawFn, spans: Sequence[int], *, most_events: int = 25) -> World:
    """A strategy of worlds.

    Args:
        draw: given by hypothesis.
        spans: lengths of time (microseconds) at which something changes, see `spans_of`.
        most_events: events and fixations, at most.
    """
    times = draw(st.lists(_steps(spans), max_size=most_events).map(_running))
    events, gaze = [], []
    for at in times:
        if draw(st.integers(0, 4)) == 4:
            gaze.append(draw(_fixation(at)))
        else:
            events.append(draw(_event(at)))
    anchor = st.sampled_from(times or [ORIGIN])
    moment = st.builds(lambda at, step: at + step, anchor, _steps(spans))
    asked_user = st.one_of(user, st.sampled_from((-1, USERS + 3)))
    asked_item = st.one_of(item, st.sampled_from((-1, ITEMS + 2)))
    request = st.tuples(asked_user, asked_item, moment)
    if events:
        request = st.one_of(request, st.builds(_echo, st.sampled_from(events), _steps(spans)))
    requests = st.lists(request, min_size=1, max_size=12)
    return assemble(
        draw(st.permutations(events)),
        gaze,
        draw(st.lists(_item(anchor, spans), max_size=ITEMS + 2)),
        draw(st.lists(_edge(anchor), max_size=6)),
        draw(requests),
    )


def _steps(spans: Sequence[int]) -> st.SearchStrategy[int]:
    """From one time to the next: nothing, a little, a span, or a span give or take 1 us."""
    beside = [span + off for span in spans for off in (0, 1, -1)]
    return st.one_of(st.just(0), st.sampled_from(beside), st.integers(1, max(1, min(spans))))


def _echo(event: dict[str, Any], later: int) -> tuple[int, int, int]:
    """Who did something asks about it later."""
    item = event["item_id"]
    return event["user_id"], -1 if item is None else item, event["timestamp"] + later


def _running(steps: list[int]) -> list[int]:
    at, found = ORIGIN, []
    for step in steps:
        at += step
        found.append(at)
    return found


def _event(at: int) -> st.SearchStrategy[dict[str, Any]]:
    columns = {
        "user_id": user,
        "item_id": st.one_of(item, st.none()),
        "timestamp": st.just(at),
        "kind": kind,
        "domain": st.sampled_from(DOMAINS),
        "dwell_ms": st.sampled_from(DWELLS),
        "item_duration_ms": st.sampled_from(DURATIONS),
        "position": st.sampled_from(POSITIONS),
        "value": st.sampled_from(VALUES),
        "ctx_tab": st.sampled_from(TABS),
    }
    return st.fixed_dictionaries(columns)


def _fixation(at: int) -> st.SearchStrategy[dict[str, Any]]:
    columns = {
        "user_id": user,
        "item_id": st.one_of(item, st.none()),
        "x": st.sampled_from(PLACES),
        "y": st.sampled_from(PLACES),
        "start": st.just(at),
        "duration_ms": st.sampled_from([dwell for dwell in DWELLS if dwell is not None]),
    }
    return st.fixed_dictionaries(columns)


def _item(anchor: st.SearchStrategy[int], spans: Sequence[int]) -> st.SearchStrategy[dict]:
    born = st.builds(lambda at, span: at - span, anchor, st.sampled_from((0, -1, *spans)))
    columns = {
        "item_id": item,
        "domain": st.sampled_from(DOMAINS),
        "author": st.sampled_from((None, *(f"author {n}" for n in range(AUTHORS)))),
        "category": st.sampled_from((None, *(f"category {n}" for n in range(CATEGORIES)))),
        "published_at": st.one_of(st.none(), st.just(-5), born),
    }
    return st.fixed_dictionaries(columns)


def _edge(anchor: st.SearchStrategy[int]) -> st.SearchStrategy[dict]:
    columns = {"src": user, "dst": user, "since": st.one_of(st.none(), anchor)}
    return st.fixed_dictionaries(columns)
