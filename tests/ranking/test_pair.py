"""Calibration, fusion, the pair and the ranker of several labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ndcg_score

from muma.artifact import read, write
from muma.config import Spec
from muma.errors import ConfigError, DataError, NotFittedError
from muma.ranking.calibration import SMALLEST_SLOPE, Calibration, log_loss, platt
from muma.ranking.fusing import choose_alpha, fused, ndcg
from muma.ranking.multi import MultiRanker, MultiRankerConfig
from muma.ranking.pair import Pair, PairConfig
from muma.ranking.propensity import examination, position_weights
from muma.ranking.ranker import Examples
from muma.rng import derive

SMALL = {"trees": 15, "leaves": 8}
FIRST = Spec(use="muma.ranking.engines.xgboost.XGBoostEngine", **SMALL)
SECOND = Spec(use="muma.ranking.engines.lightgbm.LightGBMEngine", **SMALL)


def examples(seed, n=900, *, grades=False):
    rng = derive(seed, "pair")
    value_NF = rng.normal(size=(n, 4)).astype(np.float32)
    value_NF[rng.random((n, 4)) < 0.1] = np.nan
    truth_N = np.nan_to_num(value_NF[:, 0] - 0.7 * value_NF[:, 1] ** 2)
    label_N = (rng.random(n) < expit(2 * truth_N)).astype(float)
    if grades:
        label_N += (truth_N > 0.5).astype(float)
    return Examples(("a", "b", "position", "noise"), value_NF, label_N, np.arange(n) // 6)


def pair(**changes):
    return Pair(PairConfig(first=FIRST, second=SECOND, resamples=40, **changes))


@pytest.fixture(scope="module")
def fitted():
    return pair().fit(examples(1), examples(2), examples(3))


@pytest.mark.parametrize("weighted", [False, True])
def test_platt_equals_unpenalised_logistic_regression(weighted):
    rng = derive(4, "platt")
    margin_N = rng.normal(3, 5, 500)
    label_N = (rng.random(500) < expit(0.3 * margin_N - 1.5)).astype(float)
    weight_N = rng.integers(0, 4, 500).astype(float) if weighted else None
    found = platt(margin_N, label_N, weight_N)
    peer = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    peer.fit(margin_N[:, None], label_N, sample_weight=weight_N)
    assert found.slope == pytest.approx(peer.coef_[0, 0], rel=1e-5)
    assert found.intercept == pytest.approx(peer.intercept_[0], rel=1e-4)


def test_platt_never_reorders_and_is_the_identity_where_no_fit_exists():
    rng = derive(5, "platt")
    margin_N = rng.normal(size=400)
    against_N = (rng.random(400) < expit(-margin_N)).astype(float)
    found = platt(margin_N, against_N)
    assert found.slope == SMALLEST_SLOPE
    assert expit(found.logit(margin_N)).mean() == pytest.approx(against_N.mean(), abs=1e-9)
    for margin_N, label_N in (
        (np.array([1.0, 2]), np.array([1.0, 1])),
        (np.array([2.0, 2]), np.array([1.0, 0])),
        (np.array([-1.0, 3]), np.array([0.0, 1])),
        (np.zeros(0), np.zeros(0)),
    ):
        assert platt(margin_N, label_N) == Calibration()


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 3)), min_size=2, max_size=12))
@settings(max_examples=50, deadline=None)
def test_ndcg_equals_scikit_learn(rows):
    score_N, label_N = np.array(rows, dtype=float).T
    score_N += np.arange(len(score_N)) * -1e-6  # no ties: the peer averages over them
    found = ndcg(score_N, label_N, np.zeros(len(rows), dtype=int), k=3)
    wanted = ndcg_score([2**label_N - 1], [score_N], k=3) if label_N.any() else 1.0
    assert found == pytest.approx([wanted])


@pytest.mark.parametrize("form", ["logit", "literal"])
def test_alpha_is_the_best_of_a_brute_force_search(form):
    rng = derive(6, "alpha")
    truth_N = rng.normal(size=2000)
    first_N, second_N = truth_N + rng.normal(size=2000), truth_N + 0.5 * rng.normal(size=2000)
    label_N = (rng.random(2000) < expit(truth_N)).astype(float)
    found = choose_alpha(first_N, second_N, label_N, np.arange(2000) // 5, form=form)
    loss = {
        alpha: log_loss(fused(first_N, second_N, alpha, form), label_N).mean()
        for alpha in np.linspace(0, 1, 101)
    }
    assert found.alpha[0] == pytest.approx(min(loss, key=loss.get))
    assert found.loss == pytest.approx((loss[1.0], loss[0.0], min(loss.values())))
    assert found.alpha[1] <= found.alpha[0] <= found.alpha[2]
    assert found.gain[0][0] == pytest.approx(found.loss[0] - found.loss[2])
    assert found.gain[0][1] > 0  # the noisier engine is beaten beyond doubt


def test_a_given_alpha_is_kept_and_a_useless_engine_gets_no_weight():
    rng = derive(7, "alpha")
    truth_N = rng.normal(size=3000)
    label_N = (rng.random(3000) < expit(truth_N)).astype(float)
    group_N = np.arange(3000) // 5
    noise_N = rng.normal(size=3000)
    assert choose_alpha(truth_N, noise_N, label_N, group_N).alpha[0] > 0.9
    assert choose_alpha(noise_N, truth_N, label_N, group_N, ranked=True).alpha[0] < 0.2
    fixed = choose_alpha(noise_N, truth_N, label_N, group_N, alpha=0.3)
    assert fixed.alpha[0] == 0.3
    assert np.isnan(fixed.alpha[1])


def test_parts_sum_to_the_fused_margin(fitted):
    value_NF = examples(9).value_NF
    part_NF = fitted.contributions(value_NF)
    assert part_NF.shape == (900, 5)
    np.testing.assert_allclose(part_NF.sum(axis=1), fitted.margin(value_NF), atol=1e-6)
    np.testing.assert_allclose(fitted.probability(value_NF), expit(fitted.margin(value_NF)))


def test_pair_is_eq_20(fitted):
    value_NF, report = examples(9).value_NF, fitted.report()
    first_N = report.first.logit(fitted.first.margin(value_NF))
    second_N = report.second.logit(fitted.second.margin(value_NF))
    alpha = report.fusion.alpha[0]
    assert 0 <= alpha <= 1
    np.testing.assert_allclose(
        fitted.margin(value_NF), alpha * first_N + (1 - alpha) * second_N, atol=1e-12
    )


def test_literal_form_averages_probabilities_and_refuses_to_explain():
    literal = pair(fusion="literal", alpha=0.25).fit(examples(1), examples(2))
    value_NF, report = examples(9).value_NF, literal.report()
    first_N = expit(report.first.logit(literal.first.margin(value_NF)))
    second_N = expit(report.second.logit(literal.second.margin(value_NF)))
    np.testing.assert_allclose(
        literal.probability(value_NF), 0.25 * first_N + 0.75 * second_N, atol=1e-9
    )
    with pytest.raises(ConfigError, match="no sum over features"):
        literal.contributions(value_NF)


def test_rank_loss_pair_orders_better_than_chance():
    ranked = pair(objective="lambdarank").fit(
        examples(1, grades=True), examples(2, grades=True), examples(3, grades=True)
    )
    fold = examples(4, grades=True)
    quality = ndcg(ranked.margin(fold.value_NF), fold.label_N, fold.group_N, k=10).mean()
    chance = ndcg(np.zeros(900), fold.label_N, fold.group_N, k=10).mean()
    assert quality > chance + 0.1
    assert ranked.report().fusion.loss[2] <= min(ranked.report().fusion.loss[:2])


def test_saved_is_loaded(fitted, tmp_path):
    with write(tmp_path / "pair", kind="pair", version=1) as writer:
        fitted.save(writer)
    again = Pair.load(read(tmp_path / "pair", kind="pair", version=1))
    value_NF = examples(9).value_NF
    np.testing.assert_array_equal(again.margin(value_NF), fitted.margin(value_NF))
    np.testing.assert_array_equal(again.contributions(value_NF), fitted.contributions(value_NF))
    assert again.report() == fitted.report()


def test_fit_more_keeps_the_pair_additive():
    more = pair().fit(examples(1), examples(2)).fit_more(examples(3), examples(4))
    value_NF = examples(9).value_NF
    np.testing.assert_allclose(
        more.contributions(value_NF).sum(axis=1), more.margin(value_NF), atol=1e-6
    )


def test_pair_errors():
    with pytest.raises(NotFittedError):
        pair().margin(examples(1).value_NF)
    with pytest.raises(ConfigError, match="give valid"):
        pair().fit(examples(1))
    with pytest.raises(ConfigError, match="no fit_more"):
        Pair(PairConfig(first=Spec(use="muma.candidates.ease.EASE")))


@pytest.fixture(scope="module")
def ranker():
    config = MultiRankerConfig(
        labels={"click": 1.0, "like": 0.5},
        fixed={"position": 1.0},
        drop=("noise",),
        pair=PairConfig(first=FIRST, second=SECOND, resamples=20),
    )
    folds = [{"click": examples(s), "like": examples(s + 10)} for s in (1, 2, 3)]
    return MultiRanker(config).fit(*folds)


def test_slate_is_ordered_by_the_weighted_sum(ranker):
    value_NF = examples(8, 60).only(("a", "b", "position")).value_NF
    assert ranker.columns == ("a", "b", "position")
    slate = ranker.rank(value_NF, np.arange(100, 160))
    assert np.all(np.diff(slate.score_N) <= 0)
    served_NF = value_NF.copy()
    served_NF[:, 2] = 1.0
    pairs = ranker.pairs
    score_N = pairs["click"].margin(served_NF) + 0.5 * pairs["like"].margin(served_NF)
    np.testing.assert_allclose(slate.score_N, score_N[slate.item_N - 100])
    np.testing.assert_array_equal(slate.value_NF, served_NF[slate.item_N - 100])
    np.testing.assert_allclose(ranker.score(value_NF), score_N)
    np.testing.assert_allclose(slate.attributions(20).sum(axis=1), slate.score_N[:20], atol=1e-6)
    for name, p_N in slate.probability.items():
        np.testing.assert_allclose(p_N, ranker.probability(value_NF)[name][slate.item_N - 100])


def test_position_does_not_matter_in_serving_and_ties_keep_their_order(ranker):
    value_NF = np.zeros((5, 3), dtype=np.float32)
    value_NF[:, 2] = [9, 1, 4, np.nan, 2]
    assert ranker.rank(value_NF, np.array([4, 2, 9, 7, 1])).item_N.tolist() == [4, 2, 9, 7, 1]
    assert len(ranker.rank(value_NF[:0], np.zeros(0, dtype=int))) == 0


def test_ranker_saved_is_loaded(ranker, tmp_path):
    with write(tmp_path / "ranker", kind="ranker", version=1) as writer:
        ranker.save(writer)
    again = MultiRanker.load(read(tmp_path / "ranker", kind="ranker", version=1))
    value_NF = examples(8).value_NF[:, :3]
    np.testing.assert_array_equal(again.score(value_NF), ranker.score(value_NF))
    assert again.columns == ranker.columns


def test_ranker_errors(ranker):
    with pytest.raises(DataError, match="one item"):
        ranker.rank(np.zeros((2, 3), np.float32), np.arange(3))
    with pytest.raises(DataError, match="3 columns"):
        ranker.rank(np.zeros((2, 4), np.float32), np.arange(2))
    with pytest.raises(DataError, match="infinite"):
        ranker.score(np.full((1, 3), np.inf, np.float32))
    with pytest.raises(NotFittedError):
        MultiRanker().score(np.zeros((1, 3), np.float32))
    with pytest.raises(DataError, match="label 'like'"):
        MultiRanker(ranker.config).fit({"click": examples(1)}, {"click": examples(2)})
    unknown = MultiRankerConfig(labels={"click": 1.0}, fixed={"place": 1.0})
    with pytest.raises(ConfigError, match="place"):
        MultiRanker(unknown).fit({"click": examples(1)}, {"click": examples(2)})


def test_examination_is_recovered_when_ranks_are_random():
    rng = derive(11, "position")
    truth_P = 1 / np.arange(1, 9)
    position_N = rng.integers(1, 9, 60_000)
    label_N = (rng.random(60_000) < 0.4 * truth_P[position_N - 1]).astype(float)
    np.testing.assert_allclose(examination(position_N, label_N), truth_P, atol=0.03)
    weight_N = position_weights(position_N, label_N, floor=0.25)
    assert weight_N.mean() == pytest.approx(1.0)
    assert weight_N.max() / weight_N.min() == pytest.approx(4.0)


def test_examination_edges():
    nothing = examination(np.array([1, 2, 5]), np.zeros(3))
    assert nothing.tolist() == [1.0] * 5
    for position_N in (np.array([0, 1]), np.array([0.5, 1]), np.zeros(0, dtype=int)):
        with pytest.raises(DataError):
            examination(position_N, np.zeros(len(position_N)))
    with pytest.raises(DataError, match="floor"):
        position_weights(np.array([1]), np.ones(1), floor=0.0)


def test_an_empty_later_fold_is_said():
    nothing = examples(3).rows(np.arange(0))
    with pytest.raises(DataError, match="chooses alpha is empty"):
        pair().fit(examples(1), examples(2), nothing)
