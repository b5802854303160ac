"""What every re-ranker must do; subclass, give `make()` and `neutral()`, and run with pytest.

class TestMine(RerankerSuite):
    def make(self) -> Reranker:
        return MyReranker(MyConfig(strength=0.5))

    def neutral(self) -> Reranker:
        return MyReranker(MyConfig(strength=0.0))
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from muma.errors import ConfigError, DataError
from muma.ranking.ranker import Slate
from muma.ranking.reranker import ItemFeatures, Reranker
from muma.rng import derive

NOW = 1_700_000_000.0


def slate_of(n: int, *, seed: int = 0) -> tuple[Slate, ItemFeatures]:
    """A slate of a linear model, with ties, and features with gaps (NaN vectors, no author)."""
    rng = derive(seed, "reranker_suite", n)
    value_NF = np.round(rng.normal(size=(n, 3)), 1).astype(np.float32)
    value_NF = value_NF[np.argsort(-value_NF.sum(axis=1, dtype=np.float64), kind="stable")]
    score_N = value_NF.sum(axis=1, dtype=np.float64)
    slate = Slate(
        item_N=rng.permutation(1000)[:n],
        score_N=score_N,
        value_NF=value_NF,
        columns=("a", "b", "c"),
        probability={"click": 1 / (1 + np.exp(-score_N))},
        attribute=linear,
    )
    vector_ND = rng.normal(size=(n, 8))
    vector_ND[rng.random(n) < 0.1] = np.nan
    features = ItemFeatures(
        vector_ND=vector_ND,
        tag_NT=rng.random((n, 6)) < 0.3,
        category_N=rng.integers(-1, 4, n),
        author_N=rng.integers(-1, 10, n),
        published_N=np.where(rng.random(n) < 0.1, np.nan, NOW - rng.exponential(2e5, n)),
        now=NOW,
    )
    return slate, features


def linear(value_NF: np.ndarray) -> np.ndarray:
    """Parts of a score that is the sum of its features, with base 0."""
    return np.concatenate([value_NF.astype(np.float64), np.zeros((len(value_NF), 1))], axis=1)


class RerankerSuite:
    """Contract of `Reranker`."""

    def make(self) -> Reranker:
        """A re-ranker that changes the order."""
        raise NotImplementedError

    def neutral(self) -> Reranker:
        """The same with settings that must change nothing."""
        raise NotImplementedError

    @pytest.mark.parametrize("n", [0, 1, 2, 7, 60])
    @pytest.mark.parametrize("k", [0, 1, 5, 60, 100])
    def test_k_different_candidates_with_all_that_belongs_to_them(self, n: int, k: int) -> None:
        slate, features = slate_of(n)
        shown = self.make().rerank(slate, k, features)
        assert len(shown) == min(n, k)
        assert len(set(shown.item_N.tolist())) == len(shown)
        place_n = np.array([slate.item_N.tolist().index(item) for item in shown.item_N], dtype=int)
        np.testing.assert_array_equal(shown.value_NF[:, :3], slate.value_NF[place_n])
        np.testing.assert_array_equal(
            shown.probability["click"], slate.probability["click"][place_n]
        )

    def test_a_shorter_list_is_the_beginning_of_a_longer_one(self) -> None:
        slate, features = slate_of(60)
        longest = self.make().rerank(slate, 60, features).item_N
        for k in (1, 2, 10, 40):
            np.testing.assert_array_equal(
                self.make().rerank(slate, k, features).item_N, longest[:k]
            )

    def test_the_same_twice_and_nothing_handed_in_changes(self) -> None:
        slate, features = slate_of(60)
        copies = [slate.score_N.copy(), slate.item_N.copy(), features.need("vector_ND", "").copy()]
        reranker = self.make()
        first, second = (reranker.rerank(slate, 20, features) for _ in range(2))
        np.testing.assert_array_equal(first.item_N, second.item_N)
        np.testing.assert_array_equal(first.score_N, second.score_N)
        for was, now in zip(
            copies, [slate.score_N, slate.item_N, features.need("vector_ND", "")], strict=True
        ):
            np.testing.assert_array_equal(was, now)

    def test_neutral_settings_keep_the_order(self) -> None:
        for seed in range(5):
            slate, features = slate_of(60, seed=seed)
            shown = self.neutral().rerank(slate, 25, features)
            np.testing.assert_array_equal(shown.item_N, slate.item_N[:25])
            np.testing.assert_array_equal(shown.score_N, slate.score_N[:25])

    def test_it_does_change_the_order(self) -> None:
        slate, features = slate_of(60)
        shown = self.make().rerank(slate, 25, features)
        assert shown.item_N.tolist() != slate.item_N[:25].tolist()

    def test_parts_still_sum_to_scores(self) -> None:
        slate, features = slate_of(60)
        shown = self.make().rerank(slate, 25, features)
        part_NF = shown.attributions()
        assert part_NF.shape == (25, len(shown.columns) + 1)
        np.testing.assert_allclose(part_NF.sum(axis=1), shown.score_N, atol=1e-12)

    def test_equal_candidates_stay_in_order(self) -> None:
        slate, _ = slate_of(12)
        same = replace(slate, score_N=np.zeros(12), value_NF=np.zeros_like(slate.value_NF))
        alike = ItemFeatures(
            np.ones((12, 4)), np.ones((12, 2), bool), np.full(12, -1), np.full(12, -1),
            np.full(12, NOW), NOW,
        )  # fmt: skip
        shown = self.make().rerank(same, 12, alike)
        np.testing.assert_array_equal(shown.item_N, same.item_N)

    def test_wrong_arguments_are_refused(self) -> None:
        slate, features = slate_of(12)
        with pytest.raises(ConfigError, match="k is -1"):
            self.make().rerank(slate, -1, features)
        with pytest.raises(DataError, match="rows"):
            self.make().rerank(slate, 3, features.take(np.arange(5)))
        assert len(features.take(np.arange(5)).need("author_N", "")) == 5
