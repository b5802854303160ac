"""What a re-ranking gave up in relevance, and what it gained in variety.

Shape: N candidates, n shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muma.errors import DataError
from muma.ranking.ranker import Slate
from muma.ranking.reranker import UNKNOWN, ItemFeatures
from muma.ranking.rerankers.chain import places
from muma.ranking.rerankers.similarity import unit_vectors


@dataclass(frozen=True)
class Cost:
    """The list shown against the first items of the slate, equally many of each.

    Attributes:
        k: how many items were shown.
        score_given_up: mean of the slate's own scores, first items less those shown (log-odds).
        mass_before: expected events, the sum of probability / log2(1 + rank), of the first items.
        mass_after: the same of the items shown; NaN, as before, without a probability.
        distance_before: mean of 1 - cosine over pairs of the first items; NaN without vectors.
        distance_after: the same of the items shown.
        authors_before: different known authors among the first items; NaN when none is known.
        authors_after: the same of the items shown.
        categories_before: different known categories among the first items; NaN when none is known.
        categories_after: the same of the items shown.
    """

    k: int
    score_given_up: float
    mass_before: float
    mass_after: float
    distance_before: float
    distance_after: float
    authors_before: float
    authors_after: float
    categories_before: float
    categories_after: float

    @property
    def mass_given_up(self) -> float:
        """Share of the expected events that was given up, 0 to 1."""
        return 1 - self.mass_after / self.mass_before if self.mass_before else float("nan")


def cost(before: Slate, after: Slate, features: ItemFeatures, *, label: str | None = None) -> Cost:
    """Compare a re-ranked list with the slate it came from, by the slate's own scores.

    Args:
        before: the candidates, best first.
        after: what a re-ranker made of them.
        features: of `before`'s items, in its order.
        label: whose probability makes the expected events; None: the only one there is, or none.

    Raises:
        DataError: `after` holds an item that `before` lacks, or there is no such label.
    """
    features.check(len(before))
    if not np.isin(after.item_N, before.item_N).all():
        raise DataError(
            "the re-ranked list holds items that the slate lacks; give the slate it came from"
        )
    n = len(after)
    first_n, shown_n = np.arange(n), places(before.item_N, after.item_N)
    chance_N = _chance(before, label)
    pairs = [(_mass(chance_N, p), _distance(features, p)) for p in (first_n, shown_n)]
    known = [
        (_distinct(features.author_N, p), _distinct(features.category_N, p))
        for p in (first_n, shown_n)
    ]
    given_up = before.score_N[first_n].mean() - before.score_N[shown_n].mean() if n else 0.0
    return Cost(
        n, float(given_up), pairs[0][0], pairs[1][0], pairs[0][1], pairs[1][1],
        known[0][0], known[1][0], known[0][1], known[1][1],
    )  # fmt: skip


def _chance(slate: Slate, label: str | None) -> np.ndarray | None:
    if label is None:
        return next(iter(slate.probability.values())) if len(slate.probability) == 1 else None
    if label not in slate.probability:
        raise DataError(f"no probability of {label!r}; there are {sorted(slate.probability)}")
    return slate.probability[label]


def _mass(chance_N: np.ndarray | None, place_n: np.ndarray) -> float:
    if chance_N is None:
        return float("nan")
    return float((chance_N[place_n] / np.log2(2 + np.arange(len(place_n)))).sum())


def _distance(features: ItemFeatures, place_n: np.ndarray) -> float:
    n = len(place_n)
    if features.vector_ND is None or n < 2:
        return float("nan")
    unit_nD = unit_vectors(features, "cosine", "cost")[place_n]
    total_D = unit_nD.sum(axis=0)
    own = np.einsum("nd,nd->", unit_nD, unit_nD)
    return float(1 - (total_D @ total_D - own) / (n * (n - 1)))


def _distinct(of_N: np.ndarray | None, place_n: np.ndarray) -> float:
    if of_N is None:
        return float("nan")
    known_n = of_N[place_n]
    return float(len(np.unique(known_n[known_n != UNKNOWN])))
