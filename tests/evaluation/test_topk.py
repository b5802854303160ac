import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array

from muma.errors import ConfigError, DataError
from muma.rng import derive
from muma.topk import top_k


def by_full_sort(score_BI, k, exclude_BI):
    """Stable sort of every row, then drop what may not be listed."""
    masked = np.where(exclude_BI | np.isnan(score_BI), -np.inf, score_BI)
    order = np.argsort(-masked, axis=1, kind="stable")[:, :k]
    found = np.full((len(score_BI), k), -1)
    score = np.full((len(score_BI), k), -np.inf, dtype=np.float32)
    for row, items in enumerate(order):
        kept = items[masked[row, items] > -np.inf]
        found[row, : len(kept)] = kept
        score[row, : len(kept)] = masked[row, kept]
    return found, score


def check(score_BI, k, exclude_BI):
    want_item, want_score = by_full_sort(score_BI, k, exclude_BI)
    item, score = top_k(score_BI, k, csr_array(exclude_BI))
    np.testing.assert_array_equal(item, want_item)
    np.testing.assert_array_equal(score, want_score)
    assert item.dtype == np.int64
    assert score.dtype == np.float32


VALUES = st.sampled_from([np.nan, -np.inf, np.inf, -0.0, 0.0, 1.0, -1.0, 2.5])


@settings(max_examples=200, derandomize=True, deadline=None)
@given(data=st.data(), users=st.integers(0, 4), items=st.integers(0, 40), k=st.integers(0, 45))
def test_equals_full_stable_sort(data, users, items, k):
    score_BI = data.draw(arrays(np.float32, (users, items), elements=VALUES))
    exclude_BI = data.draw(arrays(bool, (users, items)))
    check(score_BI, k, exclude_BI)


@pytest.mark.parametrize("k", [1, 3, 20, 100])
@pytest.mark.parametrize("levels", [1, 2, 50, 100_000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_full_stable_sort_on_wide_rows(k, levels, dtype):
    rng = derive(7, "wide", k, levels)
    score_BI = rng.integers(0, levels, size=(30, 2003)).astype(dtype)
    score_BI[rng.random(score_BI.shape) < 0.05] = np.nan
    score_BI[3] = -np.inf
    score_BI[4, 40:] = -np.inf
    score_BI[5] = np.nan
    exclude_BI = rng.random(score_BI.shape) < 0.1
    exclude_BI[6] = True
    check(score_BI, k, exclude_BI)


def test_input_is_left_alone():
    score_BI = derive(1, "x").random((3, 50), dtype=np.float32)
    before = score_BI.copy()
    top_k(score_BI, 2, csr_array(np.ones((3, 50), dtype=bool)))
    np.testing.assert_array_equal(score_BI, before)


def test_stored_false_does_not_exclude():
    exclude = csr_array((np.array([False]), np.array([1]), np.array([0, 1])), shape=(1, 2))
    assert top_k(np.array([[1.0, 2.0]]), 1, exclude)[0].tolist() == [[1]]


def test_integers_and_float64_keep_their_order():
    near = np.array([[1.0, 1.0 + 1e-12, 1.0]])  # equal as float32
    assert top_k(near, 3)[0].tolist() == [[1, 0, 2]]
    assert top_k(np.array([[1, 3, 2]]), 2)[0].tolist() == [[1, 2]]


def test_fortran_order():
    score_BI = np.asfortranarray(derive(2, "f").integers(0, 3, (9, 300)).astype(np.float32))
    check(score_BI, 5, np.zeros((9, 300), dtype=bool))


def test_refuses():
    with pytest.raises(ConfigError, match="k is -1"):
        top_k(np.ones((1, 2)), -1)
    with pytest.raises(DataError, match="matrix"):
        top_k(np.ones(2), 1)
    with pytest.raises(DataError, match="exclude has shape"):
        top_k(np.ones((1, 2)), 1, csr_array(np.ones((2, 2), dtype=bool)))
