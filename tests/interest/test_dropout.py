"""Dropout from bytes: the right share, the right mean, the right gradient; and in attention."""

import numpy as np
import pytest
import torch

from muma.interest.dropout import LEVELS, Dropout
from muma.interest.transformer import Transformer, TransformerConfig


@pytest.fixture(autouse=True)
def seeded():
    """Draws of this file do not depend on other tests, nor they on these."""
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(1)
        yield


@pytest.mark.parametrize("share", [0.01, 0.1, 0.2, 0.5, 0.9, 0.999])
def test_share_and_mean(share):
    x = torch.ones(400_000)
    y = Dropout(share)(x)
    dropped = min(round(share * LEVELS), LEVELS - 1) / LEVELS
    assert y.unique().tolist() == pytest.approx([0.0, 1 / (1 - dropped)])
    spread = (dropped * (1 - dropped) / len(x)) ** 0.5
    assert abs((y == 0).float().mean().item() - dropped) < 5 * spread
    assert abs(y.mean().item() - 1) < 5 * spread / (1 - dropped)
    assert abs(dropped - share) <= 1 / (2 * LEVELS) or share > 0.99


def test_bytes_are_even_and_neighbours_independent():
    kept = (Dropout(0.5)(torch.ones(800_000)) > 0).numpy().reshape(-1, 8)
    assert np.abs(kept.mean(0) - 0.5).max() < 5 * 0.5 / 100_000**0.5
    correlation = np.corrcoef(kept.T)
    assert np.abs(correlation - np.eye(8)).max() < 5 / 100_000**0.5


def test_seeded():
    x = torch.ones(3, 5, 7)
    drop, found = Dropout(0.3), []
    for seed in (1, 1, 2):
        torch.random.default_generator.manual_seed(seed)
        found.append(drop(x))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_nothing_is_dropped_in_evaluation_or_at_zero():
    x = torch.randn(4, 3)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert not Dropout(0.5).eval().active


@pytest.mark.parametrize("shape", [(), (1,), (13,), (2, 3, 5), (0, 4)])
def test_gradient_goes_through_what_was_kept(shape):
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    y = Dropout(0.4)(x)
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert grad.shape == x.shape
    torch.testing.assert_close(grad * x, y)


def test_strided_inputs():
    x = torch.randn(6, 4).T
    y = Dropout(0.25)(x)
    kept = y != 0
    torch.testing.assert_close(y[kept], x[kept] / 0.75)


def test_attention_with_dropped_weights_has_the_right_mean():
    """Dropping almost nothing is the fast attention; dropping half is so on average."""
    config = {"width": 8, "heads": 2, "blocks": 1, "dropout": 0.0}
    x_BTD, gap_BT = torch.randn(2, 6, 8), torch.zeros(2, 6)
    whole = Transformer(TransformerConfig(**config))
    block = Transformer(TransformerConfig(**config, attention_dropout=0.5))
    block.load_state_dict(whole.state_dict())
    for model in (whole, block):
        model.norm = torch.nn.Identity()
        model.blocks[0].inner = torch.nn.Identity()
        model.blocks[0].norm_inner = torch.nn.Identity()
    expected = whole(x_BTD, gap_BT)
    draws = torch.stack([block(x_BTD, gap_BT) for _ in range(3000)])
    spread = draws.std(0) / 3000**0.5 + 1e-6
    assert ((draws.mean(0) - expected).abs() < 6 * spread).all()
    block.blocks[0].drop_weights.forward = lambda weight: weight
    torch.testing.assert_close(block(x_BTD, gap_BT), expected, rtol=1e-5, atol=1e-6)


def test_dropped_attention_sees_no_future():
    model = Transformer(TransformerConfig(width=8, dropout=0.3))
    x_BTD, gap_BT = torch.randn(1, 6, 8), torch.zeros(1, 6)
    other = x_BTD.clone()
    other[:, 4:] += 1.0
    found = []
    for given in (x_BTD, other):
        torch.random.default_generator.manual_seed(5)
        found.append(model(given, gap_BT))
    torch.testing.assert_close(found[0][:, :4], found[1][:, :4], rtol=1e-5, atol=1e-6)
    assert not torch.equal(found[0][:, 4:], found[1][:, 4:])
