"""Slots that are waited for: whatever the order and the repeats, the same is handed on, each once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from muma.errors import StoreError
from muma.serving.evidence.rewards import RewardConfig
from muma.serving.evidence.waiting import Came, Waiting, WaitingRoom, decoded, encoded

RULE = RewardConfig(kinds={"click": 0.5, "like": 1.0}, wait_s=100, late_s=20)
S = 1_000_000


def answer(time=0, items=(7, 8, 9), user=1):
    n = len(items)
    return Waiting(time, user, [*items], [0.5] * n, [False] * n, [None] * n, [False] * n)


CAME = st.tuples(
    st.integers(0, 2), st.sampled_from([7, 8, 9, 5]), st.sampled_from([0.0, 0.5, 1.0]),
    st.integers(-5, 130), st.integers(0, 60),
)  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(
    events=st.lists(CAME, max_size=30), cuts=st.sets(st.integers(0, 30)), repeats=st.integers(1, 3)
)
def test_the_same_is_decided_whatever_the_order(events, cuts, repeats):
    """Events in order of arrival, each several times, the room read back from its records in between."""
    begun = {0: 0, 1: 10 * S, 2: 40 * S}
    rows = sorted(
        (
            max(at, 0) * S + begun[request] + delay * S,
            request,
            item,
            weight,
            begun[request] + at * S,
        )
        for request, item, weight, at, delay in events
    )
    room = WaitingRoom(RULE)
    for request, time in begun.items():
        room.admit(request, answer(time))
    found = []
    for number, (arrived, request, item, weight, at) in enumerate(rows):
        found += room.close(arrived - 1)
        for _ in range(repeats):
            if request in room.held:
                found += room.take(request, Came(item, weight, at, arrived))
        if number in cuts:
            room = WaitingRoom.of(RULE, [(n, encoded(w)) for n, w in room.held.items()])
    found += room.close(10**12)
    expected = {}
    for arrived, request, item, weight, at in rows:
        after, later = at - begun[request], arrived - begun[request]
        if item in (7, 8, 9) and 0 <= after <= 100 * S and later <= 120 * S:
            expected[request, item] = max(weight, expected.get((request, item), 0.0))
    by_time = {time: request for request, time in begun.items()}
    assert len(found) == len(expected)  # each once
    assert {(by_time[one.time], one.item): one.reward for one in found} == expected
    assert not room.held


def test_what_changed_is_known_until_it_is_kept():
    room = WaitingRoom(RULE)
    room.admit(3, answer())
    assert (room.changed, room.gone) == ({3}, set())
    room.settled()
    assert list(room.take(3, Came(7, 0.0, S, S))) == []
    assert room.changed == {3}
    room.settled()
    assert list(room.take(3, Came(7, 0.0, S, S))) == []  # again: nothing is new
    assert list(room.take(3, Came(5, 0.0, S, S))) == []
    assert list(room.take(3, Came(7, 0.0, 101 * S, 102 * S))) == []
    assert (room.changed, room.unknown, room.late) == (set(), 1, 1)
    assert [one.reward for one in room.close(121 * S)] == [0.0]
    assert (room.changed, room.gone) == (set(), {3})


def test_a_user_who_is_forgotten_leaves_the_room():
    room = WaitingRoom(RULE)
    for number, user in enumerate((4, 5, 4)):
        room.admit(number, answer(user=user))
    assert room.forget(4) == 2
    assert (set(room.held), room.gone) == ({1}, {0, 2})
    assert room.forget(9) == 0
    assert list(room.close(10**12)) == []


def test_without_an_event_that_says_so_every_slot_was_seen():
    room = WaitingRoom(RewardConfig(shown_by=None))
    room.admit(1, answer())
    assert [one.reward for one in room.close(10**12)] == [0.0, 0.0, 0.0]


def test_damaged_records_are_said():
    assert decoded(encoded(answer())) == answer()
    with pytest.raises(StoreError, match="cannot be read"):
        decoded(b"\xc1")


@pytest.mark.parametrize(
    "wrong",
    [
        {"kinds": {}},
        {"kinds": {"click": 1.5}},
        {"kinds": {"click": np.nan}},
        {"wait_s": 0},
        {"late_s": -1},
    ],
)
def test_rewards_that_are_none(wrong):
    with pytest.raises(ValidationError):
        RewardConfig(**wrong)
