import itertools

import numpy as np
import pytest
from scipy.sparse import csr_array

from muma.errors import DataError
from muma.evaluation.metric import RankedLists
from muma.evaluation.metrics.coverage import Coverage, CoverageConfig
from muma.evaluation.metrics.diversity import Diversity, DiversityConfig, diversity
from muma.evaluation.metrics.gini import Gini, GiniConfig, gini
from muma.evaluation.metrics.novelty import Novelty, NoveltyConfig, novelty
from muma.rng import derive


@pytest.mark.parametrize("k", [1, 4, 30, 99])
def test_coverage_by_hand(make_world, k):
    lists = make_world(1, items=200).lists
    shown = {item for row in lists.item_BK[:, :k].tolist() for item in row if item >= 0}
    assert Coverage(CoverageConfig(k=k)).aggregate(lists) == len(shown) / 200


@pytest.mark.parametrize("seed", range(3))
def test_gini_by_pairs(seed):
    amount_I = derive(seed, "gini").integers(0, 6, size=40)
    pairs = np.abs(amount_I[:, None] - amount_I[None, :]).sum()
    assert gini(amount_I) == pytest.approx(pairs / (2 * 40 * amount_I.sum()), abs=1e-12)


def test_gini_counts_items_never_shown():
    lists = RankedLists(np.array([[0], [0]]), csr_array(np.ones((2, 4))))
    assert Gini(GiniConfig(k=1)).aggregate(lists) == 0.75
    empty = RankedLists(np.array([[-1], [-1]]), csr_array(np.ones((2, 4))))
    assert np.isnan(Gini().aggregate(empty))


@pytest.mark.parametrize("k", [1, 2, 7])
def test_novelty_by_hand(make_world, k):
    lists = make_world(2).lists
    count_I = lists.context.popularity_I
    value_B = Novelty(NoveltyConfig(k=k, smoothing=0.5)).per_user(lists)
    p_I = (count_I + 0.5) / (count_I.sum() + 0.5 * len(count_I))
    assert p_I.sum() == pytest.approx(1)
    for u, row in enumerate(lists.item_BK[:, :k]):
        bits = [-np.log2(p_I[i]) for i in row if i >= 0]
        assert (
            value_B[u] == pytest.approx(np.mean(bits), abs=1e-12) if bits else np.isnan(value_B[u])
        )


@pytest.mark.parametrize("k", [1, 2, 7])
@pytest.mark.parametrize("sparse", [False, True])
def test_diversity_by_pairs(make_world, k, sparse):
    lists = make_world(3).lists
    feature_IF = derive(3, "features").integers(-2, 3, size=(30, 4)).astype(float)
    feature_IF[5:9] = 0
    given = csr_array(feature_IF) if sparse else feature_IF
    value_B = diversity(lists.item_BK, given, k=k)
    for u, row in enumerate(lists.item_BK[:, :k]):
        known = [feature_IF[i] for i in row if i >= 0 and feature_IF[i].any()]
        cosines = [
            a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            for a, b in itertools.combinations(known, 2)
        ]
        if cosines:
            assert value_B[u] == pytest.approx(1 - np.mean(cosines), abs=1e-12)
        else:
            assert np.isnan(value_B[u])


def test_missing_context_is_named():
    lists = RankedLists(np.array([[0]]), csr_array([[1.0]]))
    with pytest.raises(DataError, match="popularity_I"):
        Novelty().per_user(lists)
    with pytest.raises(DataError, match="item_features"):
        Diversity(DiversityConfig(k=1)).per_user(lists)
    with pytest.raises(DataError, match="negative"):
        novelty(lists.item_BK, np.array([-1]), k=1)
