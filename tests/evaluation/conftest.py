"""Random lists and truths, with ties, empty truths and empty lists."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.sparse import csr_array

from muma.evaluation.metric import Context, RankedLists
from muma.rng import derive
from muma.topk import top_k


@dataclass(frozen=True)
class World:
    score_BI: np.ndarray
    gain_BI: np.ndarray
    lists: RankedLists


@pytest.fixture
def make_world():
    def make(seed, *, users=40, items=30, k=30, graded=True, empty=True):
        rng = derive(seed, "world")
        score_BI = rng.integers(0, 8, size=(users, items)).astype(np.float32)  # many ties
        gain_BI = rng.integers(1, 4 if graded else 2, size=(users, items))
        gain_BI = gain_BI * (rng.random((users, items)) < rng.random((users, 1)) * 0.5)
        if empty:
            gain_BI[0] = 0
            score_BI[1], gain_BI[1, :3] = np.nan, 1  # an empty list beside a truth
            score_BI[2, 4:] = -np.inf  # a short list
        item_BK, _ = top_k(score_BI, k)
        context = Context(rng.integers(0, 50, items), rng.random((items, 5)))
        lists = RankedLists(item_BK, csr_array(gain_BI.astype(np.float64)), context)
        return World(score_BI, gain_BI, lists)

    return make
