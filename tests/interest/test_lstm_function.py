"""The hand-written recurrences against a plain loop under autograd, torch's LSTM and gradcheck."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_support import FORMS, assert_equal, inputs, loop, short_loop
from muma.interest import lstm_function
from muma.interest.lstm_function import OutputDecayedLSTM, blocks
from muma.interest.lstm_function_short import ShortTermLSTM


def pair(form):
    """The fast recurrence and the loop."""
    return (ShortTermLSTM.apply, short_loop) if form == "short" else (OutputDecayedLSTM.apply, loop)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_right(form):
    fast, _ = pair(form)
    assert torch.autograd.gradcheck(fast, inputs(form, 5, 3, 4, 6, torch.float64))


@pytest.mark.parametrize("form", FORMS)
def test_equal_to_the_loop_in_single_precision(form):
    fast, slow = pair(form)
    given_ = inputs(form, 60, 9, 16, 16, torch.float32)
    assert_equal(fast, slow, given_, 1e-6)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(FORMS), st.integers(1, 9), st.integers(1, 4), st.integers(1, 5),
    st.integers(1, 5), st.integers(0, 1000),
)  # fmt: skip
def test_equal_to_the_loop_at_any_size(form, steps, users, width_in, width, seed):
    fast, slow = pair(form)
    assert_equal(
        fast, slow, inputs(form, steps, users, width_in, width, torch.float64, seed), 1e-11
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1, 3000, 10**9])
def test_size_of_blocks_leaves_no_trace(form, size, monkeypatch):
    monkeypatch.setattr(lstm_function, "BLOCK_BYTES", size)
    fast, slow = pair(form)
    assert_equal(fast, slow, inputs(form, 17, 2, 5, 5, torch.float64), 1e-11)


def test_blocks_cover_every_step_once(monkeypatch):
    monkeypatch.setattr(lstm_function, "BLOCK_BYTES", 4 * 8 * 3)
    found = list(blocks(torch.zeros(8, 1, 8)))
    assert found == [(5, 8), (2, 5), (0, 2)]


def test_without_decay_it_is_torchs_lstm():
    cell = torch.nn.LSTM(6, 6)
    x_TBI, *_ = inputs("none", 7, 3, 6, 6, torch.float32)
    order = [0, 1, 3, 2]
    w, u, b_in, b_state = (
        torch.cat([weight.chunk(4)[gate] for gate in order]) for weight in cell.all_weights[0]
    )
    found = OutputDecayedLSTM.apply(x_TBI, w, u, b_in + b_state, None)
    torch.testing.assert_close(found, cell(x_TBI)[0], rtol=1e-5, atol=1e-6)


def test_a_second_derivative_is_refused():
    given_ = inputs("one", 2, 1, 2, 2, torch.float64)
    found = (OutputDecayedLSTM.apply(*given_) ** 2).sum()
    (grad,) = torch.autograd.grad(found, given_[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_no_gradient_is_made_where_none_is_asked_for():
    x, w, u, b, factor = inputs("one", 3, 2, 4, 4, torch.float32)
    OutputDecayedLSTM.apply(x.detach(), w, u, b, factor.detach()).sum().backward()
    assert w.grad is not None
    assert x.grad is None
    assert factor.grad is None
