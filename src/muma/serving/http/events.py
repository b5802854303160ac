"""`POST /v1/events`: one event, or up to a batch of them; acknowledged when they are on the disk.

Each event stands for itself: those that are right are taken, and the answer names every other one with
its place and the reason. What a user has not agreed to is left out, counted by source, and no error of the
sender's. Only when nothing else could be taken is the answer an error (422), and only when
the whole body is no JSON, too large or too many is none of it looked at. A second event with the same
`event_id` changes nothing, so that a batch may be sent again whenever its answer was lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import msgspec
from litestar import Request, Response, post

from muma.serving.http import examples
from muma.serving.http.answers import EventsBody, Fault
from muma.serving.http.body import answer, decode, read
from muma.serving.http.caller import Caller, caller_of
from muma.serving.http.operation import Operation, about
from muma.serving.http.problem import Problem
from muma.serving.http.service import DoorConfig
from muma.serving.parts import Event

INTAKE = "the intake of events"
Batch = Annotated[list[Event], msgspec.Meta(min_length=1, max_length=1_000)]
_one = msgspec.json.Decoder(Event)
_many = msgspec.json.Decoder(list[Event])
_pieces = msgspec.json.Decoder(list[msgspec.Raw])


@post(
    "/v1/events",
    status_code=200,
    opt=about(
        Operation(
            "One event or a list of them; each is taken or refused by itself.",
            role="write",
            body=Event | Batch,
            body_example=examples.EVENTS,
            answer=EventsBody,
            answer_example=examples.EVENTS_ANSWER,
            problems=(404, 507),
        )
    ),
)
async def take(request: Request) -> Response:
    """Check, write, acknowledge."""
    caller = caller_of(request)
    caller.part(caller.tenant.intake, INTAKE)
    raw = await read(request, caller.config)
    events, faults = events_of(raw, caller.config)
    return answer(await kept(events, faults, caller))


async def kept(
    events: Sequence[tuple[int, Event]], faults: list[Fault], caller: Caller
) -> EventsBody:
    """Check events and write them.

    Args:
        events: with their places in what was sent.
        faults: what was refused before.
        caller: whose they are.

    Raises:
        Problem: nothing was taken (422), or there is no intake (404).
    """
    intake = caller.part(caller.tenant.intake, INTAKE)
    good, places = [], []
    for place, event in events:
        if reason := _wrong(event, caller):
            faults.append(Fault(reason, place))
        else:
            good.append(event)
            places.append(place)
    duplicates, withheld = 0, {}
    if good:
        taken = await caller.runtime.work(partial(intake.put, good, received_at=caller.now))
        faults += [Fault(refusal.reason, places[refusal.index]) for refusal in taken.refused]
        accepted, duplicates, withheld = taken.accepted, taken.duplicates, dict(taken.withheld)
    else:
        accepted = 0
    faults.sort(key=lambda fault: fault.index or 0)
    count = caller.runtime.metrics.add
    count("muma_events_total", accepted, outcome="accepted")
    count("muma_events_total", len(faults), outcome="refused")
    for source, number in withheld.items():
        count("muma_events_withheld_total", number, source=source)
    if not accepted and len(faults) > sum(withheld.values()):
        raise Problem(422, "invalid", f"no event was taken: {faults[0].reason}", errors=faults)
    return EventsBody(accepted, duplicates, tuple(faults), withheld)


def events_of(raw: bytes, config: DoorConfig) -> tuple[list[tuple[int, Event]], list[Fault]]:
    """The events of a body by their place in it, and what is wrong with the others.

    Raises:
        Problem: the body is no JSON, or holds none or too many (400, 413, 422).

    Example:
        >>> events_of(b'[{"event_id": "a", "user_id": "u", "kind": "click"}, 3]', DoorConfig())[1]
        [Fault(reason='Expected `object`, got `int`', index=1)]
    """
    if raw.lstrip()[:1] != b"[":
        return [(0, decode(_one, raw, config))], []
    try:
        events = list(enumerate(_many.decode(raw)))
        faults: list[Fault] = []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        events, faults = _apart(raw, config)
    sent = len(events) + len(faults)
    if sent > config.most_events:
        raise Problem(
            413, "too-many", f"a batch may hold {config.most_events} events; got {sent}: split it"
        )
    if not sent:
        raise Problem(422, "invalid", "a batch must hold an event; got an empty list")
    return events, faults


def _apart(raw: bytes, config: DoorConfig) -> tuple[list[tuple[int, Event]], list[Fault]]:
    events, faults = [], []
    for place, piece in enumerate(decode(_pieces, raw, config)):
        try:
            events.append((place, decode(_one, bytes(piece), config)))
        except Problem as problem:
            faults.append(Fault(problem.detail, place))
    return events, faults


def _wrong(event: Event, caller: Caller) -> str | None:
    """Why an event cannot be taken; fills in what the sender may leave out."""
    if event.timestamp is None:
        msgspec.structs.force_setattr(event, "timestamp", caller.now)
    elif event.timestamp > caller.now + caller.config.skew_s * 1e6:
        ahead = (event.timestamp - caller.now) / 1e6
        return (
            f"timestamp lies {ahead:.0f} s ahead of the service's clock; at most "
            f"{caller.config.skew_s:g} s are allowed: send microseconds since 1970 UTC"
        )
    alone = caller.tenant.consents is None  # else the intake knows what was said
    if alone and event.kind == "fixation" and "gaze" not in event.consent:
        return "a fixation needs the user's consent: send it with 'gaze' in consent, or not at all"
    if event.kind == "fixation" and (event.x is None or event.y is None):
        return "a fixation needs x and y, each in [0, 1]"
    if event.request_id is not None and caller.tenant.prefix:
        msgspec.structs.force_setattr(event, "request_id", caller.tenant.inside(event.request_id))
    return None
