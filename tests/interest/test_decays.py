"""Each decay against its closed form, and the LSTM that uses it."""

import math

import numpy as np
import pytest
import torch

from muma.config import build
from muma.errors import ConfigError
from muma.interest.decayed_lstm import DecayedLSTM, DecayedLSTMConfig
from muma.interest.decays.decay import DAY, DecayConfig
from muma.interest.decays.exponential import Exponential, ExponentialConfig
from muma.interest.decays.learned_rate import LearnedRate, LearnedRateConfig
from muma.interest.decays.per_dimension import PerDimension, PerDimensionConfig
from muma.interest.decays.short_term import ShortTerm
from muma.testing.discovery import classes_in
from muma.testing.encoder_suite import TEN_YEARS

GAP = [0.0, 1.0, 3600.0, DAY, 30 * DAY, TEN_YEARS]
ALL = ["exponential.Exponential", "learned_rate.LearnedRate", "per_dimension.PerDimension",
       "short_term.ShortTerm"]  # fmt: skip


def left(decay, dtype=torch.float64):
    """Shares left after the gaps, [6] or [6, D]."""
    return decay.to(dtype)(torch.tensor([GAP], dtype=dtype))[0].detach().numpy()


def test_fixed_rate():
    found = left(Exponential(ExponentialConfig(rate=0.5, unit=3600.0)))
    expected = [math.exp(-0.5 * gap / 3600.0) for gap in GAP]
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-12)


def test_the_unit_is_a_change_of_rate():
    by_day = left(Exponential(ExponentialConfig(rate=24.0, unit=DAY)))
    by_hour = left(Exponential(ExponentialConfig(rate=1.0, unit=3600.0)))
    np.testing.assert_allclose(by_day, by_hour, rtol=1e-12)


def test_learned_rate_starts_where_it_is_told():
    found = left(LearnedRate(LearnedRateConfig(rate=0.02)))
    np.testing.assert_allclose(found[:, 0], [math.exp(-0.02 * gap / DAY) for gap in GAP], rtol=1e-5)


def test_per_dimension():
    decay = PerDimension(PerDimensionConfig(width=3, unit=60.0))
    decay.rate_D.data = torch.tensor([0.1, 2.0, -1.0])
    decay.bias_D.data = torch.tensor([0.0, 0.5, 0.5])
    age = np.log1p(np.array(GAP)[:, None] / 60.0)
    rate, bias = (weight.detach().double().numpy() for weight in (decay.rate_D, decay.bias_D))
    expected = np.exp(-np.maximum(age * rate + bias, 0.0))
    np.testing.assert_allclose(left(decay), expected, rtol=1e-12)


def test_short_term():
    expected = [1.0 / math.log(math.e + gap / DAY) for gap in GAP]
    np.testing.assert_allclose(left(ShortTerm())[:, 0], expected, rtol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_longer_gaps_leave_less_and_nothing_is_lost_at_once(name):
    found = left(build({"use": f"muma.interest.decays.{name}"}), torch.float32)
    assert (found[0] == 1.0).all()
    assert (np.diff(found, axis=0) <= 0).all()
    assert (found[-1] < 0.95).all()
    assert (found >= 0).all()


def test_every_decay_is_tried():
    found = {
        f"{cls.__module__.rpartition('.')[2]}.{cls.__name__}"
        for cls in classes_in("muma.interest.decays")
        if issubclass(cls, torch.nn.Module)
    }
    assert found == set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_rates_learn_through_time(name):
    """A finite difference of the whole branch's output agrees with the gradient of each rate."""
    spec = {"use": f"muma.interest.decays.{name}", "unit": 60.0}
    if name != "short_term.ShortTerm" and name != "exponential.Exponential":
        spec["rate"] = 0.3
    torch.random.default_generator.manual_seed(3)
    lstm = DecayedLSTM(DecayedLSTMConfig.model_validate({"width": 4, "decay": spec})).double()
    x_BTD = torch.randn(2, 6, 4, dtype=torch.float64)
    gap_BT = torch.rand(2, 6, dtype=torch.float64) * 300.0
    for weight in lstm.decay.parameters():

        def value(changed, weight=weight):
            kept = weight.data.clone()
            weight.data = changed.detach()
            total = (lstm(x_BTD, gap_BT) ** 2).sum().item()
            weight.data = kept
            return total

        (lstm(x_BTD, gap_BT) ** 2).sum().backward()
        for place in range(weight.numel()):
            step = torch.zeros_like(weight).flatten()
            step[place] = 1e-6
            step = step.view_as(weight)
            slope = (value(weight + step) - value(weight - step)) / 2e-6
            assert slope == pytest.approx(weight.grad.flatten()[place].item(), rel=1e-4, abs=1e-8)
        lstm.zero_grad()


def test_no_decay_is_torchs_own_lstm():
    lstm = DecayedLSTM(DecayedLSTMConfig(width=4))
    x_BTD = torch.randn(2, 6, 4)
    assert torch.equal(lstm(x_BTD, torch.ones(2, 6)), lstm.cell(x_BTD)[0])


def test_a_rate_of_zero_never_fades():
    spec = {"use": "muma.interest.decays.exponential.Exponential", "rate": 0.0}
    lstm = DecayedLSTM(DecayedLSTMConfig.model_validate({"width": 4, "decay": spec}))
    x_BTD = torch.randn(2, 6, 4)
    found = lstm(x_BTD, torch.full((2, 6), TEN_YEARS))
    torch.testing.assert_close(found, lstm.cell(x_BTD)[0], rtol=1e-5, atol=1e-6)


def test_the_long_term_part_survives_where_the_paper_forgets():
    """After ten years eq. (6) has a zero vector; the T-LSTM has not."""
    x_BTD, gap_BT = torch.ones(1, 3, 4), torch.tensor([[0.0, 60.0, TEN_YEARS]])
    norms = {}
    for name in ("exponential.Exponential", "short_term.ShortTerm"):
        spec = {"use": f"muma.interest.decays.{name}"}
        lstm = DecayedLSTM(DecayedLSTMConfig.model_validate({"width": 4, "decay": spec}))
        norms[name] = lstm(x_BTD, gap_BT)[0, -1].norm().item()
    assert norms["exponential.Exponential"] < 1e-6
    assert norms["short_term.ShortTerm"] > 1e-3


def test_half_precision_runs_the_recurrence_in_single():
    spec = {"use": "muma.interest.decays.per_dimension.PerDimension"}
    lstm = DecayedLSTM(DecayedLSTMConfig.model_validate({"width": 8, "decay": spec}))
    x_BTD, gap_BT = torch.randn(2, 5, 8), torch.rand(2, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = lstm(x_BTD, gap_BT)
    assert found.dtype == torch.float32
    assert torch.equal(found, lstm(x_BTD, gap_BT))


def test_config_refuses():
    with pytest.raises(ConfigError, match="unit"):
        build({"use": "muma.interest.decays.short_term.ShortTerm", "unit": 0})
    assert DecayConfig().unit == DAY
