import numpy as np
import pytest
from scipy.sparse import csr_array

from muma.config import build
from muma.errors import ConfigError, DataError
from muma.evaluation.full_ranking import evaluate, evaluate_lists
from muma.evaluation.metric import Context, RankedLists, lookup
from muma.evaluation.metrics.coverage import Coverage
from muma.evaluation.metrics.ndcg import NDCG, NDCGConfig
from muma.evaluation.metrics.novelty import Novelty
from muma.evaluation.metrics.recall import Recall
from muma.rng import derive

USES = [
    "average_precision.AveragePrecision",
    "coverage.Coverage",
    "diversity.Diversity",
    "gini.Gini",
    "hit_rate.HitRate",
    "ndcg.NDCG",
    "novelty.Novelty",
    "precision.Precision",
    "recall.Recall",
    "reciprocal_rank.ReciprocalRank",
    "watch.WatchGain",
]


def make_metrics(k=5):
    return [build({"use": f"muma.evaluation.metrics.{use}", "k": k}) for use in USES]


def make_case(users=23, items=40):
    rng = derive(1, "case")
    score_BI = rng.integers(0, 9, (users, items)).astype(np.float32)
    truth = csr_array((rng.random((users, items)) < 0.1).astype(float))
    exclude = csr_array(rng.random((users, items)) < 0.3)
    context = Context(rng.integers(0, 9, items), rng.random((items, 3)), truth)
    return score_BI, truth, exclude, context


@pytest.mark.parametrize("block", [1, 5, 23, 1000])
def test_blocks_do_not_change_the_answer(block):
    score_BI, truth, exclude, context = make_case()
    user_B = np.arange(23)[::-1]
    options = {"metrics": make_metrics(), "exclude": exclude, "context": context}
    seen = []

    def score_block(user_b):
        seen.append(len(user_b))
        return score_BI[user_b]

    done = evaluate(score_block, user_B, truth, block=block, **options)
    whole = evaluate(lambda user_b: score_BI[user_b], user_B, truth, block=23, **options)
    assert sum(seen) == 23
    assert max(seen) <= block
    for name, value_B in whole.per_user.items():
        np.testing.assert_array_equal(done.per_user[name], value_B)
    assert done.aggregate == whole.aggregate
    again = evaluate_lists(done.item_BK, truth, metrics=make_metrics(), context=context)
    np.testing.assert_array_equal(again.per_user["ndcg@5"], done.per_user["ndcg@5"])


def test_excluded_items_are_never_listed():
    score_BI, truth, exclude, _ = make_case()
    done = evaluate(
        lambda user_b: score_BI[user_b], np.arange(23), truth, metrics=[NDCG()], exclude=exclude
    )
    assert np.isnan(lookup(csr_array(exclude, dtype=float), done.item_BK)).all()


def test_results_have_intervals_for_user_metrics_only():
    score_BI, truth, _, context = make_case()
    done = evaluate(
        lambda user_b: score_BI[user_b],
        np.arange(23),
        truth,
        metrics=[Recall(), Novelty(), Coverage()],
        context=context,
    )
    results = done.results(seed=1, n_resamples=200)
    assert list(results) == ["recall@10", "novelty@10", "coverage@10"]
    assert results["recall@10"].low <= results["recall@10"].value <= results["recall@10"].high
    assert np.isnan(results["coverage@10"].low)
    assert results["novelty@10"].n == 23


def test_a_perfect_ranking_scores_one():
    truth = csr_array(derive(2, "perfect").integers(0, 4, (9, 20)).astype(float))
    dense = truth.toarray()
    for gain in ("linear", "exp2"):
        metric = NDCG(NDCGConfig(k=20, gain=gain))
        done = evaluate(lambda user_b: dense[user_b], np.arange(9), truth, metrics=[metric])
        np.testing.assert_allclose(done.per_user[metric.name], 1.0)


def test_lookup_with_unsorted_and_duplicate_entries():
    table = csr_array(
        (np.array([1.0, 2.0, 4.0]), np.array([3, 0, 3]), np.array([0, 3, 3])), shape=(2, 4)
    )
    found = lookup(table, np.array([[0, 3, -1], [0, 3, -1]]))
    np.testing.assert_array_equal(found, [[2.0, 5.0, np.nan], [np.nan] * 3])
    assert table.nnz == 3


def test_no_users_and_no_slots():
    none = evaluate_lists(
        np.empty((0, 5), dtype=int), csr_array((0, 4)), metrics=make_metrics()[:2]
    )
    assert none.per_user["map@5"].shape == (0,)
    lists = RankedLists(np.empty((2, 0), dtype=int), csr_array([[1.0, 0.0], [0.0, 0.0]]))
    for metric in make_metrics():
        if metric.name.split("@")[0] in {"map", "hit_rate", "ndcg", "precision", "recall", "mrr"}:
            np.testing.assert_array_equal(metric.per_user(lists), [0.0, np.nan])


def test_refuses():
    score_BI, truth, exclude, _ = make_case()

    def score_block(user_b):
        return score_BI[user_b]

    user_B = np.arange(23)
    with pytest.raises(ConfigError, match="k_max is 5"):
        evaluate(score_block, user_B, truth, metrics=[NDCG()], k_max=5)
    with pytest.raises(ConfigError, match="named twice: ndcg@10"):
        evaluate(score_block, user_B, truth, metrics=[NDCG(), NDCG()])
    with pytest.raises(ConfigError, match="no metric"):
        evaluate_lists(
            np.array([[0]]), csr_array([[1.0]]), metrics=[type("X", (), {"name": "x"})()]
        )
    with pytest.raises(DataError, match="truth has shape"):
        evaluate(score_block, user_B[:3], truth, metrics=[NDCG()])
    with pytest.raises(DataError, match="exclude has shape"):
        evaluate(score_block, user_B, truth, metrics=[NDCG()], exclude=exclude[:2])
    with pytest.raises(DataError, match="scores have shape"):
        evaluate(lambda user_b: score_BI[user_b, :3], user_B, truth, metrics=[NDCG()])


@pytest.mark.parametrize(
    ("item_BK", "truth", "message"),
    [
        ([[0, 0]], [[1.0, 0.0]], "names an item twice"),
        ([[0, 2]], [[1.0, 0.0]], "columns of the truth"),
        ([[0, -2]], [[1.0, 0.0]], "columns of the truth"),
        ([[0], [1]], [[1.0, 0.0]], "align"),
        ([[0.0]], [[1.0, 0.0]], "integers"),
        ([[0]], [[-1.0, 0.0]], "not positive"),
        ([[0]], [[np.nan, 0.0]], "not positive"),
    ],
)
def test_bad_lists_are_refused(item_BK, truth, message):
    with pytest.raises(DataError, match=message):
        RankedLists(np.array(item_BK), csr_array(truth))
