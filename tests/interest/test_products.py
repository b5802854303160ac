"""Products by oneDNN: right at every size, as exact as torch's own."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.interest import products


def made(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def off(found, expected):
    return ((found.double() - expected).abs().max() / expected.abs().max()).item()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 900), st.integers(1, 130), st.integers(1, 260), st.booleans())
def test_right_at_any_size(rows, width, height, large):
    left, right, bias = made(rows, width), made(height, width, seed=2), made(height, seed=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "LEAST", 0 if large else products.LEAST)
        total = made(rows, height, seed=4)
        expected = left.double() @ right.double().T
        assert off(products.product(left, right), expected) < 1e-5
        assert off(products.product(left, right, bias), expected + bias.double()) < 1e-5
        grown = total.clone()
        products.adding(right, rows)(grown, left)
        assert off(grown, expected + total.double()) < 1e-5
        other = made(rows, height, seed=5)
        assert off(products.inner_product(left, other), left.double().T @ other.double()) < 1e-5


def test_a_long_sum_is_as_exact_as_torchs_own():
    left, right = made(12_800, 64), made(12_800, 256, seed=2)
    expected = left.double().T @ right.double()
    assert off(products.inner_product(left, right), expected) < 1.5 * off(left.T @ right, expected)


def test_other_types_go_through_torch():
    left, right = made(700, 64).double(), made(256, 64).double()
    assert torch.equal(products.product(left, right), left @ right.T)
    assert torch.equal(products.inner_product(left, left), left.T @ left)


def test_transposed_views_and_no_rows():
    left, right = made(64, 700).T, made(64, 256).T
    assert off(products.product(left, right), left.double() @ right.double().T) < 1e-5
    assert products.inner_product(made(0, 3), made(0, 5)).tolist() == [[0.0] * 5] * 3
