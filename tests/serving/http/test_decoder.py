"""The decoder of events against any bytes and any JSON: it takes, refuses or names, and never fails."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from muma.serving.http.events import events_of
from muma.serving.http.problem import Problem
from muma.serving.http.service import DoorConfig
from muma.serving.parts import Event

CONFIG = DoorConfig()
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
IDS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=200)
EVENTS = st.fixed_dictionaries(
    {"event_id": IDS, "user_id": IDS, "kind": st.sampled_from(["click", "play", "fixation"])},
    optional={
        "item_id": IDS,
        "timestamp": st.integers(0, 2**53 - 1),
        "dwell_ms": st.integers(0, 2**31 - 1),
        "position": st.integers(0, 10_000),
        "value": st.floats(allow_nan=False, allow_infinity=False),
        "x": st.floats(0, 1),
        "context": st.dictionaries(IDS, st.floats(-1e9, 1e9) | IDS, max_size=5),
    },
)


def read(raw):
    try:
        return events_of(raw, CONFIG)
    except Problem as problem:
        assert problem.status in (400, 413, 422)  # noqa: PT017 - any of these will do
        return None


@settings(max_examples=150)
@given(st.binary(max_size=200) | st.builds(lambda tail: b'[{"event_id":' + tail, st.binary()))
def test_any_bytes(raw):
    read(raw)


@settings(max_examples=150)
@given(PLAIN)
def test_any_json(value):
    found = read(json.dumps(value).encode())
    if found is not None:
        assert isinstance(value, list | dict)


@settings(max_examples=60)
@given(st.lists(EVENTS, min_size=1, max_size=6))
def test_right_events_come_through_as_they_are(sent):
    events, faults = read(json.dumps(sent).encode())
    assert not faults
    for (place, event), given_ in zip(events, sent, strict=True):
        assert given_ is sent[place]
        for name, value in given_.items():
            assert getattr(event, name) == value


@settings(max_examples=60)
@given(st.lists(st.tuples(EVENTS, st.booleans(), PLAIN), min_size=1, max_size=8))
def test_every_event_is_taken_or_named_and_never_both(mixed):
    wrong = ("event_id", "user_id", "kind")
    sent = [
        event if right else {**event, wrong[n % 3]: None, "extra": spoiled}
        for n, (event, right, spoiled) in enumerate(mixed)
    ]
    text = json.dumps(sent)
    found = read(text.encode())
    if found is None:  # a NaN or an infinity: the text is no JSON at all
        assert "NaN" in text or "Infinity" in text
        return
    events, faults = found
    assert [place for place, _ in events] == [n for n, (_, right, _) in enumerate(mixed) if right]
    assert sorted(fault.index for fault in faults) == [
        n for n, (_, right, _) in enumerate(mixed) if not right
    ]


@settings(max_examples=60)
@given(EVENTS, st.sampled_from(sorted(Event.__struct_fields__)), PLAIN)
def test_one_spoiled_field_is_named_or_harmless(event, name, value):
    text = json.dumps({**event, name: value})
    found = read(text.encode())
    if found is not None:
        ((_, kept),), _ = found
        held = getattr(kept, name)
        assert list(held) == value if isinstance(held, tuple) else held == value
