"""Two answers compared: by hand, and for any two lists."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from muma.serving.page.changes import compare
from muma.serving.recommending import Answer, Ask, Evidence, ServedItem

lists = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)
numbers = st.one_of(st.just(float("nan")), st.sampled_from([0.0, 1.0, 2.5]))


def evidence(names, values=(), columns=()):
    slots = tuple(ServedItem(n, None, None, 0.0, 1.0, False, {}, ()) for n in names)
    return Evidence(
        Ask("r", 0), Answer("r", slots, (), {}, -1, {}), np.arange(1),
        np.array([values], dtype=np.float32).reshape(1, -1), tuple(columns),
        np.ones(len(slots)), np.ones(len(slots), dtype=int), 0.0, (),
    )  # fmt: skip


@given(lists, lists)
def test_moves_lead_from_one_list_to_the_other(old, new):
    found = compare(evidence(old), evidence(new))
    assert len(found.moves) == len(new)
    for slot, (name, move) in enumerate(zip(new, found.moves, strict=True), start=1):
        if name in old:
            assert move.before == old.index(name) + 1
            assert move.before - move.by == slot
        else:
            assert move.before is None
    assert {one.item for _, one in found.gone} == set(old) - set(new)
    assert found.new == len(set(new) - set(old))
    assert [old[slot - 1] for slot, _ in found.gone] == [one.item for _, one in found.gone]


@given(st.lists(st.tuples(numbers, numbers), max_size=5))
def test_features_that_changed_are_those_that_differ(pairs):
    columns = [f"user.f{n}" for n in range(len(pairs))]
    before, after = ([pair[side] for pair in pairs] for side in (0, 1))
    found = compare(evidence("a", before, columns), evidence("a", after[::-1], columns[::-1]))
    differ = [
        name for name, (old, new) in zip(columns, pairs, strict=True)
        if not (old == new or (np.isnan(old) and np.isnan(new)))
    ]  # fmt: skip
    assert [one.column for one in found.features] == differ
    assert found.same == len(pairs) - len(differ)


def test_directions_and_whose_features_count():
    columns = ("user.a", "user.b", "user.c", "item.d", "user.e")
    before = evidence("a", (1, 2, np.nan, 1, 3), columns)
    after = evidence("a", (2, 1, 1, 2, 3), columns)
    found = compare(before, after)
    assert [(one.column, one.direction) for one in found.features] == [
        ("user.a", "up"), ("user.b", "down"), ("user.c", "new"),
    ]  # fmt: skip
    assert found.features[2].before == "unknown"


def test_other_columns_are_no_change():
    """An answer without a ranker has other columns."""
    found = compare(evidence("a", (1.0,), ("user.a",)), evidence("a", (1.0,), ("candidate.als",)))
    assert (found.features, found.same) == ((), 0)
