"""The best of every source, against sorting everything."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.candidates.scale import scale_of, standardised
from muma.serving.pooling import best, pooled

seeds = st.integers(0, 2**32 - 1)
SPOILED = np.array([-np.inf, np.inf, np.nan], dtype=np.float32)


def _scores(rng, size):
    levels = int(rng.integers(1, 60))  # few levels: many equal scores
    score_I = rng.integers(0, levels, size).astype(np.float32) if rng.random() < 0.5 else (
        rng.normal(size=size).astype(np.float32)
    )  # fmt: skip
    spoiled_I = rng.random(size) < 0.2
    score_I[spoiled_I] = rng.choice(SPOILED, int(spoiled_I.sum()))
    return score_I


def _sorted_best(score_I, allowed_I, pool):
    open_i = [i for i in range(min(len(score_I), len(allowed_I)))
              if allowed_I[i] and np.isfinite(score_I[i])]  # fmt: skip
    return sorted(sorted(open_i, key=lambda i: (-score_I[i], i))[:pool])


@settings(deadline=None)
@given(seeds, st.integers(0, 30))
def test_the_best_are_those_of_a_sort(seed, pool):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(0, 1500))
    score_I = _scores(rng, size)
    allowed_I = rng.random(size + int(rng.integers(0, 4))) < rng.random()
    assert sorted(best(score_I, allowed_I, pool).tolist()) == _sorted_best(score_I, allowed_I, pool)


@settings(deadline=None)
@given(seeds)
def test_what_sources_propose_together(seed):
    rng = np.random.default_rng(seed)
    size, pool = int(rng.integers(1, 200)), int(rng.integers(0, 12))
    length_S = rng.integers(0, size + 1, int(rng.integers(0, 5)))
    score_SI = np.full((len(length_S), size), 1e9, dtype=np.float32)
    for s, length in enumerate(length_S):
        score_SI[s, :length] = _scores(rng, length)
    allowed_I = rng.random(size) < 0.7
    item_N, score_NS, by_NS = pooled(score_SI, length_S, allowed_I, pool)
    chosen = [_sorted_best(score_SI[s, :n], allowed_I, pool) for s, n in enumerate(length_S)]
    assert item_N.tolist() == sorted({item for each in chosen for item in each})
    for s, length in enumerate(length_S):
        assert item_N[by_NS[:, s]].tolist() == chosen[s]
        raw_I = score_SI[s, :length]
        wanted_N = np.full(len(item_N), np.nan, dtype=np.float32)
        known_N = item_N < length
        wanted_N[known_N] = standardised(raw_I[item_N[known_N]], scale_of(raw_I))
        np.testing.assert_array_equal(score_NS[:, s], wanted_N)
    assert score_NS.dtype == np.float32
    assert by_NS.dtype == bool
