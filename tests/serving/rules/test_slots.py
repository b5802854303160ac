"""Slots against all lists there are: every permutation of few candidates."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.errors import ConfigError, DataError
from muma.serving.rules.limits import Limit
from muma.serving.rules.rule import Bounds
from muma.serving.rules.slots import Pinned, Slots


def limit(rule, order, bounds, groups):
    """A limit from groups of places."""
    pairs = [(place, g) for g, places in groups.items() for place in places]
    pairs.sort()
    place_X, group_X = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return Limit(rule, order, bounds, place_X.copy(), group_X.copy())


@st.composite
def games(draw):
    n = draw(st.integers(1, 6))
    count = draw(st.integers(1, 5))
    limits = []
    for r in range(draw(st.integers(0, 4))):
        within = draw(st.integers(1, count))
        kind = draw(st.sampled_from(["low", "high", "both", "cap"]))
        if kind == "cap":
            groups = {}
            for place in range(n):
                for g in draw(st.sets(st.integers(0, 2), max_size=2)):
                    groups.setdefault(g, []).append(place)
            bounds = Bounds(within, 0, draw(st.integers(1, 2)))
        else:
            groups = {0: sorted(draw(st.sets(st.integers(0, n - 1))))}
            low = draw(st.integers(1, within)) if kind != "high" else 0
            high = draw(st.integers(low, within)) if kind != "low" else None
            bounds = Bounds(within, low, high)
        limits.append(limit(f"r{r}", r, bounds, groups))
    pins = [
        Pinned(f"p{k}", draw(st.integers(0, count - 1)), draw(st.integers(0, n - 1)))
        for k in range(draw(st.sampled_from([0, 0, 1, 2])))
    ]
    allowed_N = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    if draw(st.booleans()):
        allowed_N[:] = True
    pins = [pin for pin in pins if allowed_N[pin.place]]
    limits = [
        Limit(x.rule, x.order, x.bounds, x.place_X[allowed_N[x.place_X]], x.group_X[allowed_N[x.place_X]])
        for x in limits
    ]  # fmt: skip
    return allowed_N, count, limits, pins


def counts(row, one):
    """Members of each group of a limit in its window."""
    found = {}
    for place in row[: one.bounds.within]:
        for g in one.group_X[one.place_X == place].tolist():
            found[g] = found.get(g, 0) + 1
    return found


def within_maximums(row, limits):
    return all(
        one.bounds.high is None or all(c <= one.bounds.high for c in counts(row, one).values())
        for one in limits
    )


def lists(allowed_N, limits, length, pin_at):
    places = np.flatnonzero(allowed_N).tolist()
    return [
        row
        for row in permutations(places, length)
        if all(row[slot] == place for slot, place in pin_at.items())
        and within_maximums(row, limits)
    ]


def moved(pins, length):
    """Pins of a list that ends early: the last slots, in their order."""
    at, last = {}, length
    for pin in sorted(pins, key=lambda pin: -pin.slot):
        last = min(pin.slot, last - 1)
        at[last] = pin.place
    return at


def best(rows, limits, length):
    """Lists that keep the minimums: of each rule in turn as much as can be had."""
    for one in limits:
        if one.bounds.low == 0:
            continue
        # minimums in the order in which their groups first appear
        for g in dict.fromkeys(one.group_X.tolist()):
            low = min(one.bounds.low, one.bounds.within, length)
            got = [min(counts(row, one).get(g, 0), low) for row in rows]
            rows = [row for row, c in zip(rows, got, strict=True) if c == max(got)]
    return rows


@settings(max_examples=250, deadline=None)
@given(games())
def test_open_slots_are_those_that_lead_to_a_best_list(game):
    allowed_N, count, limits, pins = game
    slots = Slots(allowed_N, count, limits, pins)
    held = [pin for pin in pins if pin.place in slots.pinned_places().values()]
    held = list({pin.place: pin for pin in reversed(held)}.values())
    length = next(
        size
        for size in range(min(count, int(allowed_N.sum())), -1, -1)
        if lists(allowed_N, limits, size, moved(held, size))
    )
    assert slots.length == length
    rows = best(lists(allowed_N, limits, length, moved(held, length)), limits, length)
    prefixes = {row[:size] for row in rows for size in range(length)}
    for prefix in sorted(prefixes):
        want = {row[len(prefix)] for row in rows if row[: len(prefix)] == prefix}
        got = slots.open_for(len(prefix), list(prefix))
        assert set(np.flatnonzero(got).tolist()) == want, prefix
    for row in rows[:3]:
        assert not slots.open_for(length, list(row)).any()


@settings(max_examples=150, deadline=None)
@given(games())
def test_a_pin_is_dropped_only_for_a_reason(game):
    allowed_N, count, limits, pins = game
    slots = Slots(allowed_N, count, limits, pins)
    placed = slots.pinned_places()
    for pin in pins:
        if ("not pinned") in {action for rule, action in slots.notes if rule == pin.rule}:
            earlier = pins[: pins.index(pin)]
            clash = any(pin.slot == e.slot or pin.place == e.place for e in earlier)
            bound = any(one.bounds.high is not None for one in limits)
            assert clash or bound
        else:
            assert pin.place in placed.values()
            if slots.length == count:
                assert placed[pin.slot] == pin.place


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_many_candidates_keep_every_limit_at_every_prefix(seed):
    rng = np.random.default_rng(seed)
    n, count = int(rng.integers(20, 80)), int(rng.integers(5, 15))
    author_N, news_N = rng.integers(0, 12, n), rng.random(n) < 0.3
    fresh_N = rng.random(n) < 0.3
    limits = [
        Limit("cap", 0, Bounds(count, 0, 2), np.arange(n), author_N.astype(np.int64)),
        limit("news", 1, Bounds(count, 2, 5), {0: np.flatnonzero(news_N).tolist()}),
        limit("fresh", 2, Bounds(4, 2, None), {0: np.flatnonzero(fresh_N).tolist()}),
    ]
    slots = Slots(np.ones(n, dtype=bool), count, limits, [])
    chosen = []
    for slot in range(count):
        open_N = slots.open_for(slot, chosen)
        chosen.append(int(rng.choice(np.flatnonzero(open_N))))
        assert np.bincount(author_N[chosen]).max() <= 2
        assert news_N[chosen].sum() <= 5
    assert len(set(chosen)) == count
    if not slots.short:
        assert news_N[chosen].sum() >= 2
        assert fresh_N[chosen[:4]].sum() >= 2


def test_answers_do_not_depend_on_what_was_asked_before():
    limits = [
        limit("a", 0, Bounds(3, 2, None), {0: [0, 1]}),
        limit("b", 1, Bounds(3, 0, 1), {0: [1, 2]}),
    ]
    slots = Slots(np.ones(5, dtype=bool), 3, limits, [])
    first = slots.open_for(1, [3]).tolist()
    slots.open_for(2, [0, 1])
    assert slots.open_for(1, [3]).tolist() == first == [True, True, False, False, False]


def test_a_minimum_that_nobody_can_keep_is_lowered_and_said():
    limits = [
        limit("many", 0, Bounds(4, 3, None), {0: [0]}),
        limit("one", 1, Bounds(4, 1, None), {0: [1]}),
    ]
    slots = Slots(np.ones(4, dtype=bool), 4, limits, [])
    assert slots.short == {"many": 2}
    assert slots.notes["many", "relaxed"] == []


def test_the_later_minimum_gives_way():
    low = Bounds(2, 2, None)
    limits = [limit("first", 0, low, {0: [0, 1]}), limit("second", 1, low, {0: [2, 3]})]
    slots = Slots(np.ones(4, dtype=bool), 2, limits, [])
    assert slots.short == {"second": 2}
    assert np.flatnonzero(slots.open_for(0, [])).tolist() == [0, 1]


def test_who_was_kept_out_is_said():
    limits = [
        limit("cap", 0, Bounds(3, 0, 1), {0: [0, 1]}),
        limit("low", 1, Bounds(3, 1, None), {0: [2]}),
    ]
    slots = Slots(np.ones(4, dtype=bool), 3, limits, [])
    for slot, chosen in enumerate([[], [0], [0, 3]]):
        slots.open_for(slot, chosen)
    said = {(rule, action): places for rule, action, places in slots.kept_out()}
    assert said["cap", "capped"] == [1]
    assert "low" not in {rule for rule, _ in said if 2 in said.get((rule, "kept out"), [])}


def test_wrong_use_is_refused():
    slots = Slots(np.ones(3, dtype=bool), 2, [limit("x", 0, Bounds(2, 0, 1), {0: [0, 1]})], [])
    with pytest.raises(DataError, match="slot 1 was asked for"):
        slots.open_for(1, [])
    with pytest.raises(DataError, match="not open"):
        slots.open_for(2, [0, 0])
    with pytest.raises(DataError, match="at least one slot"):
        Slots(np.ones(3, dtype=bool), 0, [], [])
    many = [limit(f"m{k}", k, Bounds(2, 1, None), {0: [0]}) for k in range(63)]
    with pytest.raises(ConfigError, match="more than 62"):
        Slots(np.ones(3, dtype=bool), 2, many, [])


def test_without_limits_everything_else_is_open_and_nobody_left_ends_the_list():
    slots = Slots(np.array([True, False, True]), 5, [], [])
    assert slots.open_for(0, []).tolist() == [True, False, True]
    assert slots.open_for(1, [2]).tolist() == [True, False, False]
    assert not slots.open_for(2, [2, 0]).any()
    assert not Slots(np.zeros(0, dtype=bool), 3, [], []).open_for(0, []).any()


def test_a_minimum_of_what_is_not_there_is_said():
    slots = Slots(np.ones(3, dtype=bool), 3, [limit("none", 0, Bounds(3, 2, None), {0: []})], [])
    assert slots.short == {"none": 2}
    assert slots.open_for(0, []).all()
