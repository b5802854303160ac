"""Standardised scores against NumPy's own mean and deviation, and rows of pairs against whole catalogues."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muma.app.source_scores import pair_scores
from muma.candidates.markov import Markov
from muma.candidates.popularity import Popularity
from muma.candidates.scale import scale_of, standardised
from muma.testing.logs import random_log

scores = st.lists(st.floats(-1e6, 1e6) | st.just(-np.inf), max_size=40)


@given(scores)
def test_scale_is_that_of_the_finite_scores(values):
    score_I = np.array(values, dtype=np.float32)
    finite_I = np.isfinite(score_I)
    mean, deviation = scale_of(score_I)
    if not finite_I.any():
        assert (mean, deviation) == (0.0, 1.0)
        return
    exact = score_I[finite_I].astype(np.float64)
    assert mean == pytest.approx(exact.mean(), abs=1e-9)
    assert deviation == pytest.approx(exact.std() or 1.0, rel=1e-6)
    z_I = standardised(score_I, (mean, deviation))
    assert (np.isnan(z_I) == ~finite_I).all()
    assert z_I.dtype == np.float32


def test_pairs_in_any_order_are_cells_of_whole_catalogues():
    log = random_log(3)
    sources = {"markov": Markov().fit(log), "popularity": Popularity().fit(log)}
    rng = np.random.default_rng(1)
    user_N, item_N = rng.integers(0, log.n_users, 300), rng.integers(0, log.n_items, 300)
    found_NS = pair_scores(sources, user_N, item_N)
    for column, source in enumerate(sources.values()):
        for row in range(300):
            score_I = source.score(user_N[row : row + 1])[0].astype(np.float64)
            known_I = score_I[np.isfinite(score_I)]
            z = (score_I[item_N[row]] - known_I.mean()) / (known_I.std() or 1.0)
            if np.isfinite(z):
                assert found_NS[row, column] == pytest.approx(z, abs=1e-5)
            else:
                assert np.isnan(found_NS[row, column])
