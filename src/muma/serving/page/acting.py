"""What a button does: the events that it stands for, and the wait until the features know of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Any

from muma.errors import UnknownIdError
from muma.serving.http.caller import Caller
from muma.serving.http.events import kept
from muma.serving.page.asking import Act, Deed
from muma.serving.parts import Event, Item, Kind

KINDS: Mapping[Deed, tuple[Kind, ...]] = {
    "watch": ("impression", "click", "play", "long_view"),
    "like": ("impression", "like"),
    "skip": ("impression", "hide"),
}
"""What each button sends; a play tells how long, and is left out where the item's length is unknown."""
PATIENCE_S, STEP_S, SLOWER = 2.0, 0.004, 1.3


def events_of(act: Act, user: str, item: Item | None, *, at: int) -> list[Event]:
    """The events of a button.

    Their ids are made of the answer, the slot and the kind, so that a form that is sent twice counts once.

    Args:
        act: what was pressed.
        user: who.
        item: what is known of the item.
        at: microseconds since 1970 UTC.

    Example:
        >>> act = Act(token="", act="like", on="n1", position=2, request_id="r1")
        >>> [(one.event_id, one.kind) for one in events_of(act, "u1", None, at=0)]
        [('r1/2/impression', 'impression'), ('r1/2/like', 'like')]
    """
    length = None if item is None else item.duration_ms
    return [
        Event(
            event_id=f"{act.request_id}/{act.position}/{kind}"[-200:],
            user_id=user,
            kind=kind,
            item_id=act.on,
            timestamp=at,
            domain=None if item is None else item.domain,
            dwell_ms=length if kind == "play" else None,
            item_duration_ms=length,
            position=act.position,
            request_id=act.request_id,
        )
        for kind in kinds_of(act.act, item)
    ]


def kinds_of(deed: Deed, item: Item | None) -> tuple[Kind, ...]:
    """What a button sends for an item.

    Example:
        >>> kinds_of("watch", Item("a")), kinds_of("watch", Item("a", duration_ms=9))
        (('impression', 'click', 'long_view'), ('impression', 'click', 'play', 'long_view'))
    """
    timed = item is not None and item.duration_ms is not None
    return tuple(kind for kind in KINDS[deed] if timed or kind != "play")


async def send(act: Act, user: str, caller: Caller) -> int:
    """Take the events in as `POST /v1/events` does, and wait until the user's features know of them.

    Returns:
        Milliseconds from the acknowledgement until then; -1 when they did not in time.

    Raises:
        Problem: the events are refused (422), or there is no intake (404).
    """
    items = caller.tenant.items
    found = [] if items is None else await caller.runtime.work(items.get, [act.on])
    before = await known(user, caller)
    events = events_of(act, user, found[0] if found else None, at=caller.now)
    done = await kept(list(enumerate(events)), [], caller)
    begun, step_s = monotonic(), STEP_S
    if done.duplicates == done.accepted:  # sent before: nothing will change
        return 0
    while monotonic() - begun < PATIENCE_S:
        if _knows(await known(user, caller), before, caller.now):
            return round(1000 * (monotonic() - begun))
        await asyncio.sleep(step_s)
        step_s *= SLOWER  # a look costs time that the features need
    return -1


async def known(user: str, caller: Caller) -> Mapping[str, Any]:
    """What is known of a user; nothing of a new one."""
    try:
        return await caller.runtime.answer(caller.tenant.engine.user, user)
    except UnknownIdError:
        return {}


def _knows(now: Mapping[str, Any], before: Mapping[str, Any], at: int) -> bool:
    """Whether the store has taken in events of this time; where no store is told of, any change will do."""
    store = now.get("store")
    if not isinstance(store, Mapping):
        return now != before
    old = before.get("store")
    newer = not isinstance(old, Mapping) or store["version"] > old["version"]
    return newer and store["watermark"] >= at
