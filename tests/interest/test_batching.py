"""Batches hold every target they should, once, in a seeded order, with similar lengths together."""

import numpy as np
import pytest

from muma.interest.batching import Batches, BatchingConfig
from muma.interest.histories import histories
from muma.testing.logs import random_log, tiny_log

EVENTS = histories(random_log(2, n_users=25, n_events=700))


def batches(events=EVENTS, seed=1, target_E=None, **config):
    return Batches(BatchingConfig(**config), events, seed=seed, target_E=target_E)


def targets(found):
    """(user, time of the context's newest event, target) of every target."""
    return [
        (user, time, item)
        for batch in found
        for user, times, items in zip(
            batch.user_B, batch.sequences.time_BL, batch.target_BL, strict=True
        )
        for time, item in zip(times, items, strict=True)
        if item >= 0
    ]


def wanted(keep=lambda events, at: True):
    """The same from a loop over all events but each user's first."""
    same = EVENTS.user_E[1:] == EVENTS.user_E[:-1]
    return [
        (EVENTS.user_E[at], EVENTS.time_E[at], EVENTS.item_E[at + 1])
        for at in np.flatnonzero(same)
        if keep(EVENTS, at)
    ]


def test_every_event_but_the_first_is_a_target_once():
    assert sorted(targets(batches(length=7, size=4, windows="all").epoch(3))) == sorted(wanted())
    assert sorted(targets(batches(length=500, size=4).epoch(0))) == sorted(wanted())


def test_newest_windows_hold_the_newest_targets():
    def newest(events, at):
        return events.indptr[events.user_E[at] + 1] - at - 2 < 7

    assert sorted(targets(batches(length=7, size=4).epoch(0))) == sorted(wanted(newest))


def test_shifted_windows_miss_nothing_and_move():
    plan = batches(length=7, size=4, windows="shifted")
    first, second = targets(plan.epoch(0)), targets(plan.epoch(1))
    assert set(first) == set(second) == set(wanted())
    assert sorted(first) != sorted(second)


def test_targets_follow_their_context():
    for batch in batches(length=6, size=5).epoch(0):
        inner = batch.sequences.item_BL[:, 1:][batch.sequences.mask_BL[:, :-1]]
        assert (batch.target_BL[:, :-1][batch.sequences.mask_BL[:, :-1]] == inner).all()
        assert (batch.target_BL[~batch.sequences.mask_BL] == -1).all()


def test_order_is_seeded():
    def order(seed, epoch):
        return [window.tolist() for window in batches(seed=seed, size=4).plan(epoch)]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_going_on_and_sharing_give_the_same_batches():
    whole = [batch.user_B.tolist() for batch in batches(size=4).epoch(2)]
    assert [batch.user_B.tolist() for batch in batches(size=4).epoch(2, skip=3)] == whole[3:]
    parts = [[b.user_B.tolist() for b in batches(size=4).epoch(2, rank=r, world=2)] for r in (0, 1)]
    assert len(parts[0]) == len(parts[1]) == batches(size=4).steps(2, world=2)
    mixed = [batch for pair in zip(*parts, strict=True) for batch in pair]
    assert mixed[: len(whole)] == whole


def test_lengths_of_a_batch_are_close():
    plan = batches(length=200, size=5).plan(0)
    spread = [np.ptp(window[:, 1] - window[:, 0]) for window in plan]
    length = np.diff(EVENTS.indptr)
    assert np.mean(spread) < 0.3 * np.ptp(length)


def test_only_allowed_events_are_targets():
    allowed_E = np.zeros(len(EVENTS), dtype=bool)
    allowed_E[[5, 17]] = True
    found = list(batches(target_E=allowed_E, length=9, windows="all").epoch(0))
    assert sum(batch.targets for batch in found) == 2
    assert sorted(item for *_, item in targets(found)) == sorted(EVENTS.item_E[[5, 17]])


@pytest.mark.parametrize("log", [{}, {0: [1]}, {0: [1], 1: [0]}])
def test_histories_without_a_target_give_no_batch(log):
    events = histories(tiny_log(log, n_users=3, n_items=3))
    assert not len(Batches(BatchingConfig(), events, seed=1))
