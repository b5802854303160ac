"""The contract of re-ranking: a `Slate` in, a shorter and more varied `Slate` out, and what it cost.

Shape: N candidates, D width of item vectors, T tags.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np

from muma.errors import ConfigError, DataError
from muma.ranking.ranker import Slate

UNKNOWN = -1


@dataclass(frozen=True)
class ItemFeatures:
    """What re-rankers know of a slate's items; an array that is None is known of no item.

    Attributes:
        vector_ND: item vectors, float [N, D]; a row that is not finite is unknown.
        tag_NT: which tags an item has, bool [N, T].
        category_N: dense category of each item, int [N]; -1 is unknown.
        author_N: dense author of each item, int [N]; -1 is unknown.
        published_N: time of publication in seconds since 1970, float64 [N]; NaN is unknown.
        now: time of the request, in the same seconds.
    """

    vector_ND: np.ndarray | None = None
    tag_NT: np.ndarray | None = None
    category_N: np.ndarray | None = None
    author_N: np.ndarray | None = None
    published_N: np.ndarray | None = None
    now: float = float("nan")

    def take(self, place_n: np.ndarray) -> ItemFeatures:
        """The features of the items at some places, in that order."""
        return ItemFeatures(
            **{name: None if a is None else a[place_n] for name, a in self._arrays().items()},
            now=self.now,
        )

    def check(self, n: int) -> None:
        """Refuse features of another slate.

        Raises:
            DataError: an array does not have `n` rows.
        """
        for name, array in self._arrays().items():
            if array is not None and len(array) != n:
                raise DataError(
                    f"{name} has {len(array)} rows, the slate has {n} candidates; give one row a "
                    "candidate, in the slate's order"
                )

    def need(self, name: str, who: str) -> np.ndarray:
        """One of the arrays.

        Raises:
            DataError: it is None.
        """
        array = self._arrays()[name]
        if array is None:
            raise DataError(f"{who} needs {name}, which is None; hand it in with ItemFeatures")
        return array

    def _arrays(self) -> dict[str, np.ndarray | None]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "now"}


class Reranker(Protocol):
    """Chooses and orders candidates by more than their own scores; deterministic, ties stay in order."""

    def rerank(self, slate: Slate, k: int, features: ItemFeatures) -> Slate:
        """The best `k` of a slate, or all when there are fewer.

        Args:
            slate: candidates, best first, each item once.
            k: how many to return, 0 or more.
            features: of the slate's items, in the slate's order.

        Raises:
            ConfigError: `k` is negative.
            DataError: the features are of another slate, or lack what the re-ranker needs.
        """
        ...


def checked(slate: Slate, k: int, features: ItemFeatures) -> int:
    """Check what every re-ranker is handed, and return how many candidates it must return.

    Raises:
        ConfigError: `k` is negative.
        DataError: the features are of another slate.
    """
    if k < 0:
        raise ConfigError(f"k is {k}; it must be 0 or more")
    features.check(len(slate))
    return min(k, len(slate))
