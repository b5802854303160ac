"""Statistics of one moment: the same numbers as those they were taken from, and deaf to what comes later."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.backends.state_memory import MemoryStore
from muma.errors import DataError
from muma.features.store import Changes
from muma.policy.discounted import Discounted
from muma.policy.floor import Floor
from muma.policy.forgetting import Stationary
from muma.policy.held_statistics import HeldStatistics
from muma.policy.policy import Context, Feedback
from muma.policy.shared_statistics import SharedStatistics
from muma.policy.statistics import ArmStatistics
from muma.policy.thompson import Thompson, ThompsonConfig
from muma.ranking.ranker import Slate

ROWS = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 10**6)),
    max_size=30,
)


def feedback(rows):
    item_E, reward_E, time_E = (np.array([row[n] for row in rows]) for n in range(3))
    return Feedback(
        item_E.astype(np.int64), reward_E.astype(float), time_E.astype(np.int64), np.ones(len(rows))
    )


@settings(deadline=None, max_examples=60)
@given(
    rows=ROWS,
    later=ROWS,
    items=st.permutations(range(12)),
    rule=st.sampled_from([Stationary, Discounted]),
)
def test_they_read_as_at_that_moment(rows, later, items, rule):
    item_N = np.array(items[:7])
    for statistics in (
        ArmStatistics(rule()), SharedStatistics(store=MemoryStore(), forgetting=rule())
    ):  # fmt: skip
        statistics.add(feedback(rows))
        held = HeldStatistics(item_N, *statistics.of(item_N), statistics.forgetting)
        moments, total = statistics.read(item_N[::-1], at=2 * 10**6)
        as_of = statistics.as_of
        statistics.add(feedback(later))
        again, total_again = held.read(item_N[::-1], at=2 * 10**6)
        for name in ("count_N", "sum_N", "square_N"):
            np.testing.assert_array_equal(getattr(again, name), getattr(moments, name))
        assert (total_again, held.as_of) == (total, as_of)


def test_only_their_items_and_no_feedback():
    arms = ArmStatistics()
    held = HeldStatistics(np.array([4, 2]), *arms.of(np.array([4, 2])), arms.forgetting)
    for wrong in ([3], [4, 9], [0, 2]):
        with pytest.raises(DataError, match="others were asked"):
            held.read(np.array(wrong), at=0)
    with pytest.raises(DataError, match="of one moment"):
        held.add(feedback([(4, 1.0, 5)]))
    assert held.read(np.array([], dtype=np.int64), at=0)[0].count_N.size == 0
    empty = HeldStatistics(np.zeros(0, np.int64), *arms.of(np.zeros(0, np.int64)), arms.forgetting)
    with pytest.raises(DataError):
        empty.read(np.array([1]), at=0)


def test_a_policy_holds_what_it_knows_and_answers_the_same_later():
    policy = Thompson(ThompsonConfig(floor=Floor(least=0)))
    policy.learn(feedback([(7, 1.0, 10), (4, 0.0, 20)]))
    slate, context = Slate.plain(np.array([4, 7, 9])), Context("r", time=30)
    before = policy.next_slot(slate, context, [])
    held, statistics = policy.held(slate.item_N)
    policy.learn(feedback([(4, 1.0, 40)] * 20))
    assert (policy.next_slot(slate, context, []) != before).any()
    np.testing.assert_array_equal(held.next_slot(slate, context, []), before)
    then, _ = policy.held(slate.item_N, statistics.of(slate.item_N))
    np.testing.assert_array_equal(
        then.next_slot(slate, context, [1]), held.next_slot(slate, context, [1])
    )


def test_what_would_be_added_can_be_committed_with_more():
    store, alone = MemoryStore(), MemoryStore()
    shared, other = SharedStatistics(store=store), SharedStatistics(store=alone)
    batch = feedback([(3, 1.0, 5), (3, 0.5, 6), (8, 0.0, 7)])

    def both(view):
        found = shared.changes(view, batch)
        return Changes(found.tables, offsets={0: 9}, blobs=found.blobs)

    store.update(both)
    other.add(batch)
    np.testing.assert_array_equal(shared.rows()[0], other.rows()[0])
    with store.snapshot() as view:
        assert view.offsets() == {0: 9}
        assert shared.changes(view, feedback([])) == Changes()
