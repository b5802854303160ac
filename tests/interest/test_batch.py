"""Histories to tensors, and the move to the front and back."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.errors import DataError
from muma.events.stream import ACTIONS
from muma.features.feature import Sequences
from muma.interest.batch import FIRST_ROW, KINDS, Events, check, events_of, flush_left, flush_right
from muma.testing.encoder_suite import random_events

SECOND = 1_000_000


def sequences(item, time, *, kind=0, dwell=-1):
    """Sequences whose padding is where `item` is None."""
    mask = np.array([[value is not None for value in row] for row in item])
    item_BL = np.array([[-1 if value is None else value for value in row] for row in item])
    fill = lambda value: np.where(mask, value, -1)  # noqa: E731
    return Sequences(
        item_BL, np.where(mask, np.array(time) * SECOND, 0), fill(kind), fill(0), fill(dwell), mask
    )


def test_a_history_by_hand():
    history = sequences([[None, 3, -1, 9]], [[0, 10, 10, 70]], kind=2, dwell=[[0, 0, 1500, -1]])
    events = events_of(history, np.arange(5) + FIRST_ROW, at_B=np.array([100 * SECOND]))
    assert events.row_BL.tolist() == [[0, 5, 1, 1]]
    assert events.gap_BL.tolist() == [[0.0, 0.0, 0.0, 60.0]]
    assert events.kind_BL.tolist() == [[0, 3, 3, 3]]
    np.testing.assert_allclose(events.dwell_BL, [[-1.0, 0.0, np.log(2.5), -1.0]], rtol=1e-6)
    assert events.mask_BL.tolist() == [[False, True, True, True]]
    assert events.wait_BL.tolist() == [[0.0, 0.0, 60.0, 30.0]]
    assert events.source_BLD is None
    assert [value.dtype for value in (events.row_BL, events.gap_BL, events.kind_BL)] == [
        torch.int64, torch.float32, torch.int64,
    ]  # fmt: skip


def test_rows_from_a_function_and_from_nothing():
    history = sequences([[3, -1, 9]], [[1, 2, 3]])
    found = events_of(history, lambda item: np.where(item == 9, 7, 0))
    assert found.row_BL.tolist() == [[1, 1, 7]]
    assert events_of(history, np.zeros(0, dtype=np.int64)).row_BL.tolist() == [[1, 1, 1]]


def test_a_request_before_the_newest_event_waits_for_nothing():
    history = sequences([[3]], [[50]])
    assert events_of(history, np.arange(5), at_B=np.array([0])).wait_BL.tolist() == [[0.0]]


def test_wrong_sequences():
    history = sequences([[1, 2]], [[5, 3]])
    with pytest.raises(DataError, match="backwards"):
        events_of(history, np.arange(5))
    broken = Sequences(*(getattr(history, name)[:, :1] if name == "kind_BL" else value
                         for name, value in vars(history).items()))  # fmt: skip
    with pytest.raises(DataError, match="kind_BL has shape"):
        events_of(broken, np.arange(5))


def test_every_action_has_a_kind():
    assert len(ACTIONS) + 1 == KINDS
    history = sequences([list(range(len(ACTIONS)))], [[0] * len(ACTIONS)])
    history = Sequences(**{**vars(history), "kind_BL": np.arange(len(ACTIONS))[None]})
    check(events_of(history, np.arange(5)))


def test_batches_without_users_or_positions():
    check(random_events(1, [2, 3]).map(lambda value: value[:0]))
    with pytest.raises(DataError, match="no position"):
        check(random_events(1, [2, 3]).map(lambda value: value[:, :0]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=5), st.integers(0, 5))
def test_to_the_front_and_back(counts, more):
    length = 6 + more
    events = random_events(1, counts, length=length, source_width=2)
    moved = flush_left(events)
    assert moved.mask_BL.shape[1] == max(1, *counts)
    for user, count in enumerate(counts):
        for name, value in vars(events).items():
            assert torch.equal(getattr(moved, name)[user, :count], value[user, length - count :])
            if name != "dwell_BL":
                assert (getattr(moved, name)[user, count:] == 0).all()
    for wide in (moved.source_BLD, torch.stack([moved.source_BLD] * 3, 2)):
        back = flush_right(wide, length - torch.tensor(counts), length)
        expected = events.source_BLD if wide.dim() == 3 else torch.stack([events.source_BLD] * 3, 2)
        assert torch.equal(back, expected)


def test_the_newest_events_forget_the_gap_before_them():
    events = random_events(3, [6, 2], length=6)
    cut = events.newest(3)
    assert (cut.gap_BL[:, 0] == 0).all()
    assert torch.equal(cut.gap_BL[:, 1:], events.gap_BL[:, 4:])
    assert torch.equal(cut.row_BL, events.row_BL[:, 3:])
    assert events.newest(6) is events
    assert isinstance(events.to("cpu"), Events)
