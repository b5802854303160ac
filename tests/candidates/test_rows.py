"""Kernels of live histories against plain loops and NumPy's own algebra."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from muma.candidates.fold import folded
from muma.candidates.live import History, greatest
from muma.candidates.rows import summed_dense, summed_rows

seeds = st.integers(0, 2**32 - 1)


@settings(deadline=None)
@given(seeds, st.integers(0, 30))
def test_sums_of_rows_are_those_of_the_matrix(seed, length):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 4000)) if seed % 7 == 0 else int(rng.integers(1, 40))
    size = min(size, 300)
    dense_FF = np.where(rng.random((size, size)) < 0.3, rng.normal(size=(size, size)), 0.0)
    item_L, weight_L = rng.integers(0, size, length), rng.random(length)
    wanted_F = weight_L @ dense_FF[item_L]
    found_F = summed_rows(csr_array(dense_FF), item_L, weight_L)
    assert found_F.dtype == np.float32
    np.testing.assert_allclose(found_F, wanted_F, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(summed_dense(dense_FF, item_L, weight_L), wanted_F, atol=1e-12)


def test_products_are_of_the_matrix_type_and_blocks_leave_no_trace():
    rng = np.random.default_rng(3)
    size = 5000
    row_FF = np.lib.stride_tricks.as_strided(
        rng.normal(size=2 * size).astype(np.float32), (size, size), (4, 4)
    )
    item_L, weight_L = rng.integers(0, size, 7), rng.random(7).astype(np.float32)
    wanted_F = np.zeros(size, dtype=np.float32)
    for item, weight in zip(item_L, weight_L, strict=True):
        wanted_F += weight * row_FF[item]
    np.testing.assert_array_equal(summed_dense(row_FF, item_L, weight_L), wanted_F)
    sparse = csr_array(np.ascontiguousarray(row_FF[:50, :50]))
    item_L = item_L % 50
    wanted_F = np.zeros(50)
    for item, weight in zip(item_L, weight_L, strict=True):
        wanted_F += weight * row_FF[item, :50]
    found_F = summed_rows(sparse, item_L, weight_L.astype(np.float64))
    np.testing.assert_array_equal(found_F, wanted_F.astype(np.float32))


@settings(deadline=None)
@given(seeds, st.integers(1, 12), st.integers(0, 20), st.floats(0, 10))
def test_factors_are_the_solution_of_the_normal_equations(seed, factors, length, l2):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(max(length, 1), 700))
    item_FD = rng.normal(size=(size, factors)).astype(np.float32)
    gram_DD = item_FD.T.astype(float) @ item_FD + (l2 + 0.1) * np.eye(factors)
    item_L = rng.choice(size, length, replace=False)
    confidence_L = rng.random(length) * 20 + 0.1
    mine_LD = item_FD[item_L].astype(float)
    left_DD = gram_DD + (mine_LD.T * (confidence_L - 1)) @ mine_LD
    user_D = np.linalg.solve(left_DD, confidence_L @ mine_LD)
    found_F = folded(np.ascontiguousarray(item_FD.T), gram_DD, item_L, confidence_L)
    np.testing.assert_allclose(found_F, item_FD @ user_D, rtol=1e-4, atol=1e-5)


def test_what_is_not_positive_definite_is_solved_all_the_same():
    gram_DD = np.array([[1.0, 0.0], [0.0, -2.0]])
    item_DF = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    found_F = folded(item_DF, gram_DD, np.array([1]), np.array([1.0]))
    assert found_F.tolist() == [0.0, -0.5]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.floats(0.1, 5)), max_size=30))
def test_the_greatest_of_each_item_ascending(pairs):
    item_L = np.array([item for item, _ in pairs], dtype=np.int64)
    value_L = np.array([value for _, value in pairs])
    found_L, best_L = greatest(item_L, value_L)
    wanted = {}
    for item, value in pairs:
        wanted[item] = max(wanted.get(item, 0.0), np.float32(value))
    assert dict(zip(found_L.tolist(), best_L, strict=True)) == wanted
    assert found_L.tolist() == sorted(wanted)
    assert best_L.dtype == np.float32


@settings(deadline=None)
@given(st.lists(st.integers(0, 12), max_size=20))
def test_a_history_within_columns(items):
    item_L = np.array(items, dtype=np.int64)
    weight_L = np.arange(1, len(items) + 1, dtype=np.float32)
    column_I = np.array([3, -1, 0, 1, -1, 2, -1, 4], dtype=np.int64)
    found = History(item_L, weight_L, at=5).within(column_I)
    kept = [
        (column_I[i], w) for i, w in zip(items, weight_L, strict=True) if i < 8 and column_I[i] >= 0
    ]
    assert list(zip(found.item_L.tolist(), found.weight_L.tolist(), strict=True)) == kept
    assert found.at == 5
