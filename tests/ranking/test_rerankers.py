"""Re-rankers against brute force and closed forms; every one of them passes the suite."""

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.config import Spec, build, parse
from muma.errors import ConfigError, DataError
from muma.ranking.reranker import ItemFeatures
from muma.ranking.rerankers.caps import Caps, CapsConfig
from muma.ranking.rerankers.chain import Chain, ChainConfig
from muma.ranking.rerankers.cost import cost
from muma.ranking.rerankers.dpp import DPP, DPPConfig
from muma.ranking.rerankers.freshness import Freshness, FreshnessConfig
from muma.ranking.rerankers.mmr import MMR, MMRConfig
from muma.ranking.rerankers.similarity import relevance, unit_vectors
from muma.testing.discovery import classes_in
from muma.testing.reranker_suite import NOW, RerankerSuite, slate_of


class TestMMR(RerankerSuite):
    def make(self):
        return MMR(MMRConfig(relevance_weight=0.4))

    def neutral(self):
        return MMR(MMRConfig(relevance_weight=1))


class TestMMRTags(RerankerSuite):
    def make(self):
        return MMR(MMRConfig(relevance_weight=0.4, similarity="tags"))

    def neutral(self):
        return MMR(MMRConfig(relevance_weight=1, similarity="tags"))


class TestDPP(RerankerSuite):
    def make(self):
        return DPP(DPPConfig(relevance_weight=0.4))

    def neutral(self):
        return DPP(DPPConfig(relevance_weight=1))


class TestCaps(RerankerSuite):
    def make(self):
        return Caps(CapsConfig(per_author=2, per_category=3))

    def neutral(self):
        return Caps()


class TestFreshness(RerankerSuite):
    def make(self):
        return Freshness(FreshnessConfig(weight=2))

    def neutral(self):
        return Freshness(FreshnessConfig(weight=0))


class TestChain(RerankerSuite):
    def make(self):
        return Chain(steps=[Freshness(), MMR(), Caps(CapsConfig(per_author=1))])

    def neutral(self):
        return Chain()


def test_every_reranker_has_a_suite():
    found = {cls for cls in classes_in("muma.ranking.rerankers") if hasattr(cls, "rerank")}
    assert found == {type(suite().make()) for suite in RerankerSuite.__subclasses__()}


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.8])
def test_mmr_is_its_equation(weight):
    slate, features = slate_of(30, seed=2)
    unit = unit_vectors(features, "cosine", "")
    rel, chosen = relevance(slate.score_N), []
    while len(chosen) < 12:
        rest = [i for i in range(30) if i not in chosen]
        value = [
            weight * rel[i] - (1 - weight) * max((unit[i] @ unit[j] for j in chosen), default=0)
            for i in rest
        ]
        chosen.append(rest[int(np.argmax(value))])
    shown = MMR(MMRConfig(relevance_weight=weight)).rerank(slate, 12, features)
    np.testing.assert_array_equal(shown.item_N, slate.item_N[chosen])


def kernel(features):
    unit = unit_vectors(features, "cosine", "")
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, 1.0)
    return (1 + cosine) / 2


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.8])
def test_dpp_takes_each_step_by_the_determinant(weight):
    slate, features = slate_of(25, seed=3)
    rel, S, chosen = relevance(slate.score_N), kernel(features), []
    while len(chosen) < 7:
        rest = [i for i in range(25) if i not in chosen]
        value = []
        for i in rest:
            R = [*chosen, i]
            log_det = np.linalg.slogdet(S[np.ix_(R, R)])[1]
            value.append(weight * rel[R].sum() + (1 - weight) * log_det)
        chosen.append(rest[int(np.argmax(value))])
    shown = DPP(DPPConfig(relevance_weight=weight)).rerank(slate, 7, features)
    np.testing.assert_array_equal(shown.item_N, slate.item_N[chosen])


def test_dpp_comes_near_the_best_set_of_all():
    """Greedy is (1 - 1/e)-optimal for monotone gains; on small slates it is near the optimum."""
    share = []
    for seed in range(20):
        slate, features = slate_of(10, seed=seed)
        rel, S = relevance(slate.score_N), kernel(features)

        def log_p(R, rel=rel, S=S):
            return 0.5 * rel[R].sum() + 0.5 * np.linalg.slogdet(S[np.ix_(R, R)])[1]

        every = np.array([log_p(list(R)) for R in itertools.combinations(range(10), 4)])
        shown = DPP(DPPConfig(relevance_weight=0.5)).rerank(slate, 4, features)
        R = [slate.item_N.tolist().index(i) for i in shown.item_N]
        assert log_p(R) <= every.max() + 1e-9
        share.append((log_p(R) - every.min()) / (every.max() - every.min()))
    assert min(share) > 0.8
    assert np.mean(share) > 0.95


def test_dpp_fills_up_when_nothing_new_is_left():
    slate, _ = slate_of(6)
    features = ItemFeatures(vector_ND=np.ones((6, 2)))
    shown = DPP(DPPConfig(relevance_weight=0.0)).rerank(slate, 6, features)
    np.testing.assert_array_equal(shown.item_N, slate.item_N)


def test_caps_hold_and_relax_in_the_stated_order():
    slate, _ = slate_of(6)
    features = ItemFeatures(
        author_N=np.array([0, 0, 0, 1, -1, -1]), category_N=np.array([0, 0, 1, 0, 0, 0])
    )
    config = CapsConfig(per_author=1, per_category=2)
    shown = Caps(config).rerank(slate, 6, features).item_N.tolist()
    # within both caps: 0 and 3; without the category's: 4 and 5; without any: 1 and 2
    assert shown == slate.item_N[[0, 3, 4, 5, 1, 2]].tolist()
    other = config.model_copy(update={"relax": ("author", "category")})
    # without the author's: 2 (its category is free); without any: 1, 4 and 5
    shown = Caps(other).rerank(slate, 6, features).item_N.tolist()
    assert shown == slate.item_N[[0, 3, 2, 1, 4, 5]].tolist()
    short = config.model_copy(update={"allow_short": True})
    assert Caps(short).rerank(slate, 6, features).item_N.tolist() == slate.item_N[[0, 3]].tolist()


def test_unknown_authors_are_never_capped():
    slate, _ = slate_of(9)
    features = ItemFeatures(author_N=np.full(9, -1))
    shown = Caps(CapsConfig(per_author=1)).rerank(slate, 9, features)
    np.testing.assert_array_equal(shown.item_N, slate.item_N)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 3)), max_size=20),
    st.integers(1, 3), st.integers(1, 3), st.integers(0, 22),
)  # fmt: skip
def test_no_cap_is_broken_while_candidates_last(pairs, per_author, per_category, k):
    slate, _ = slate_of(len(pairs))
    author_N, category_N = np.array(pairs, dtype=int).reshape(-1, 2).T
    features = ItemFeatures(author_N=author_N, category_N=category_N)
    config = CapsConfig(per_author=per_author, per_category=per_category, allow_short=True)
    strict = Caps(config).rerank(slate, k, features)
    full = Caps(config.model_copy(update={"allow_short": False})).rerank(slate, k, features)
    assert len(full) == min(k, len(pairs))
    np.testing.assert_array_equal(full.item_N[: len(strict)], strict.item_N)
    place = [slate.item_N.tolist().index(i) for i in strict.item_N]
    for of_N, cap in ((author_N[place], per_author), (category_N[place], per_category)):
        assert np.bincount(of_N[of_N >= 0], minlength=1).max(initial=0) <= cap
    if len(strict) < k:  # what was left out would have broken a cap
        for i in set(range(len(pairs))) - set(place):
            full_author = author_N[i] >= 0 and (author_N[place] == author_N[i]).sum() >= per_author
            full_kind = (
                category_N[i] >= 0 and (category_N[place] == category_N[i]).sum() >= per_category
            )
            assert full_author or full_kind


def test_freshness_is_its_equation_and_explains_itself():
    slate, features = slate_of(4)
    hours = np.array([0.0, 24.0, np.nan, -5.0])
    features = ItemFeatures(published_N=NOW - hours * 3600, now=NOW)
    shown = Freshness(FreshnessConfig(weight=1.0, half_life=24)).rerank(slate, 4, features)
    boost = dict(zip(slate.item_N.tolist(), [1.0, 0.5, 0.0, 1.0], strict=True))
    assert shown.columns[-1] == "rerank.freshness"
    np.testing.assert_allclose(
        shown.attributions()[:, -2], [boost[i] for i in shown.item_N.tolist()]
    )
    assert (np.diff(shown.score_N) <= 0).all()
    with pytest.raises(DataError, match="once"):
        Freshness().rerank(shown, 4, features)
    with pytest.raises(DataError, match="now is"):
        Freshness().rerank(slate, 4, ItemFeatures(published_N=np.zeros(4)))


def test_missing_features_and_wrong_settings_are_named():
    slate, _ = slate_of(3)
    for reranker, needed in [
        (MMR(), "vector_ND"), (DPP(), "vector_ND"), (Freshness(), "published_N"),
        (Caps(CapsConfig(per_author=1)), "author_N"), (MMR(MMRConfig(similarity="tags")), "tag_NT"),
    ]:  # fmt: skip
        with pytest.raises(DataError, match=needed):
            reranker.rerank(slate, 2, ItemFeatures())
    with pytest.raises(ConfigError, match="relevance_weight"):
        parse(MMRConfig, {"relevance_weight": 1.5})


def test_a_chain_is_built_from_a_recipe_and_carries_features_along():
    slate, features = slate_of(60)
    room = "muma.ranking.rerankers"
    spec = Spec(
        use=f"{room}.chain.Chain",
        steps=[{"use": f"{room}.freshness.Freshness", "weight": 1.0},
               {"use": f"{room}.caps.Caps", "per_author": 1}],
    )  # fmt: skip
    chain = build(spec)
    assert isinstance(chain, Chain)
    shown = chain.rerank(slate, 8, features)
    fresh = Freshness(FreshnessConfig(weight=1.0)).rerank(slate, 60, features)
    author = dict(zip(slate.item_N.tolist(), features.author_N.tolist(), strict=True))
    expected, seen = [], set()
    for item in fresh.item_N.tolist():
        if author[item] == -1 or author[item] not in seen:
            expected.append(item)
            seen.add(author[item])
    assert shown.item_N.tolist() == expected[:8]
    assert (
        Chain(ChainConfig()).rerank(slate, 4, features).item_N.tolist() == slate.item_N[:4].tolist()
    )


def test_cost_is_what_was_given_up_and_gained():
    slate, features = slate_of(40, seed=5)
    shown = MMR(MMRConfig(relevance_weight=0.2)).rerank(slate, 5, features)
    found = cost(slate, shown, features)
    place = [slate.item_N.tolist().index(i) for i in shown.item_N]
    p, unit = slate.probability["click"], unit_vectors(features, "cosine", "")
    mass = [sum(p[i] / math.log2(2 + r) for r, i in enumerate(ps)) for ps in (range(5), place)]
    apart = [
        np.mean([1 - unit[i] @ unit[j] for i, j in itertools.combinations(ps, 2)])
        for ps in (range(5), place)
    ]
    assert found.score_given_up == pytest.approx(
        slate.score_N[:5].mean() - slate.score_N[place].mean()
    )
    assert [found.mass_before, found.mass_after] == pytest.approx(mass)
    assert [found.distance_before, found.distance_after] == pytest.approx(apart)
    assert found.mass_given_up == pytest.approx(1 - mass[1] / mass[0])
    assert found.score_given_up > 0
    assert found.distance_after > found.distance_before
    assert found.authors_after == len({a for a in features.author_N[place].tolist() if a >= 0})
    nothing = cost(slate, slate.take(np.arange(5)), features)
    assert nothing.score_given_up == nothing.mass_given_up == 0
    empty = cost(slate, slate.take(np.arange(0)), features)
    assert (empty.k, empty.score_given_up) == (0, 0.0)
    with pytest.raises(DataError, match="no probability of 'like'"):
        cost(slate, shown, features, label="like")
    other, _ = slate_of(40, seed=9)
    with pytest.raises(DataError, match="lacks"):
        cost(slate.take(np.arange(3)), other, features.take(np.arange(3)))


def test_scores_that_are_not_finite_come_last_and_break_nothing():
    score = np.array([np.inf, 2.0, 1.0, -np.inf, np.nan])
    assert relevance(score).tolist() == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert relevance(np.array([np.nan, np.inf])).tolist() == [0.0, 1.0]
    assert relevance(np.array([1e308, -1e308])).tolist() == [1.0, 0.0]
    assert relevance(np.zeros(0)).shape == (0,)


def test_200_candidates_within_a_millisecond_of_cpu():
    rng = np.random.default_rng(1)
    slate, _ = slate_of(200)
    features = ItemFeatures(vector_ND=rng.normal(size=(200, 32)))
    for reranker in (MMR(), DPP()):
        reranker.rerank(slate, 20, features)
        best = math.inf
        for _ in range(50):
            start = time.thread_time()
            reranker.rerank(slate, 20, features)
            best = min(best, time.thread_time() - start)
        assert best < 1e-3
