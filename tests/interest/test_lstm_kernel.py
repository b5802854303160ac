"""The C++ recurrences against the plain loop, gradcheck and the portable form; and what is said without them."""

import shutil
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_support import FORMS, assert_equal, inputs, loop, short_loop
from muma.errors import ConfigError, MissingExtraError
from muma.interest import lstm_kernel
from muma.interest.decayed_lstm import DecayedLSTM, DecayedLSTMConfig
from muma.interest.lstm_kernel import OutputDecayedLSTM, ShortTermLSTM

DECAYS = ["exponential.Exponential", "learned_rate.LearnedRate", "per_dimension.PerDimension",
          "short_term.ShortTerm"]  # fmt: skip


@pytest.fixture(scope="module")
def compiled():
    """The kernel; compiled when this machine has not done it before."""
    try:
        lstm_kernel.load()
    except MissingExtraError as error:
        pytest.skip(str(error))


def pair(form):
    """The kernel and the loop."""
    return (ShortTermLSTM.apply, short_loop) if form == "short" else (OutputDecayedLSTM.apply, loop)


def module(decay, kernel, width=6):
    """A decayed LSTM in double precision, the same weights for every kernel."""
    torch.manual_seed(3)
    spec = {"use": f"muma.interest.decays.{decay}", "unit": 60.0}
    settings_ = {"width": width, "decay": spec, "kernel": kernel}
    return DecayedLSTM(DecayedLSTMConfig.model_validate(settings_)).double()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.usefixtures("compiled")
def test_gradients_are_right(form):
    fast, _ = pair(form)
    assert torch.autograd.gradcheck(fast, inputs(form, 5, 3, 4, 6, torch.float64))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.usefixtures("compiled")
def test_equal_to_the_loop_in_single_precision(form):
    fast, slow = pair(form)
    assert_equal(fast, slow, inputs(form, 60, 9, 16, 16, torch.float32), 1e-6)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(FORMS), st.integers(1, 9), st.integers(1, 40), st.integers(1, 5),
    st.integers(1, 9), st.integers(0, 1000),
)  # fmt: skip
@pytest.mark.usefixtures("compiled")
def test_equal_to_the_loop_at_any_size(form, steps, users, width_in, width, seed):
    fast, slow = pair(form)
    assert_equal(
        fast, slow, inputs(form, steps, users, width_in, width, torch.float64, seed), 1e-11
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.usefixtures("compiled")
def test_gates_that_are_wide_open_or_shut(form):
    fast, slow = pair(form)
    x, w, u, b, *rest = inputs(form, 6, 3, 4, 4, torch.float32)
    wide = (b * 1e4).detach().requires_grad_()
    assert_equal(fast, slow, [x, w, u, wide, *rest], 1e-6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.usefixtures("compiled")
def test_what_is_not_a_number_stays_visible(form):
    fast, _ = pair(form)
    x, *rest = inputs(form, 4, 2, 8, 8, torch.float32)
    with torch.no_grad():
        x[1, 0] = float("nan")
    found = fast(x, *rest)
    assert found[1:, 0].isnan().all()
    assert found[:, 1].isfinite().all()


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.usefixtures("compiled")
def test_training_is_that_of_the_portable_form(decay):
    found = []
    for kernel in ("portable", "cpp"):
        lstm = module(decay, kernel).train()
        x_BTD = torch.linspace(-2, 2, 3 * 7 * 6, dtype=torch.float64).view(3, 7, 6)
        gap_BT = torch.linspace(0, 600, 21, dtype=torch.float64).view(3, 7)
        h_BTD = lstm(x_BTD, gap_BT)
        (h_BTD**2).sum().backward()
        found.append([h_BTD, *(weight.grad for weight in lstm.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("compiled")
def test_half_precision_is_refused():
    given_ = [value.detach().bfloat16() for value in inputs("one", 2, 1, 2, 2, torch.float32)]
    with pytest.raises(ConfigError, match="float32 and float64 on the cpu"):
        OutputDecayedLSTM.apply(*given_)


@pytest.fixture
def anew(monkeypatch):
    """Nothing is loaded yet, and the variables may be changed."""
    monkeypatch.setattr(lstm_kernel, "load", lstm_kernel.load.__wrapped__)
    return monkeypatch


def test_without_a_compiler_the_extra_is_named(anew):
    anew.setenv("CXX", "no-such-compiler")
    with pytest.raises(MissingExtraError, match=r"no-such-compiler .*muma\[cpp\].*portable"):
        module("short_term.ShortTerm", "cpp").train()(
            torch.zeros(1, 2, 6, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)
        )


def test_without_ninja_the_extra_is_named(anew):
    anew.setattr(shutil, "which", lambda name: None if name == "ninja" else f"/usr/bin/{name}")
    anew.setitem(sys.modules, "ninja", None)
    with pytest.raises(MissingExtraError, match=r"muma\[cpp\]"):
        lstm_kernel.load()


def test_a_kernel_that_does_not_compile_is_said(anew):
    def refuse(**_):
        raise RuntimeError("building\nkernel.cpp:1:2: error: no such thing\nninja stopped")

    anew.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    anew.setattr(lstm_kernel.cpp_extension, "load", refuse)
    with pytest.raises(ConfigError, match=r"error: no such thing.*portable"):
        lstm_kernel.load()


@pytest.mark.parametrize("decay", DECAYS)
def test_what_was_trained_serves_without_a_compiler(decay, anew):
    anew.setattr(lstm_kernel, "load", lambda: pytest.fail("serving compiles"))
    x_BTD = torch.ones(2, 3, 6, dtype=torch.float64)
    gap_BT = torch.ones(2, 3, dtype=torch.float64)
    found, expected = (
        module(decay, kernel).eval()(x_BTD, gap_BT) for kernel in ("cpp", "portable")
    )
    assert torch.equal(found, expected)
