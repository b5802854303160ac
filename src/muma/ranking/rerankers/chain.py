"""Several re-rankers, one after another.

Shape: N candidates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from muma.config import Config, Spec, build
from muma.ranking.ranker import Slate
from muma.ranking.reranker import ItemFeatures, Reranker, checked


class ChainConfig(Config):
    """Settings of a chain.

    Attributes:
        steps: the re-rankers, first to last, each by its import path.
    """

    steps: tuple[Spec, ...] = ()


class Chain:
    """All steps but the last order the whole slate; the last cuts it to k.

    Boosts belong first (they change scores), then diversity, then caps (whose promise is about the
    list that is shown). MMR and DPP read scores, not the order of the step before.

    Args:
        config: the settings.
        steps: re-rankers already built, instead of the config's.
    """

    def __init__(
        self, config: ChainConfig = ChainConfig(), *, steps: Sequence[Reranker] | None = None
    ) -> None:
        self.config = config
        self.steps: tuple[Reranker, ...] = tuple(
            (build(spec) for spec in config.steps) if steps is None else steps
        )

    def rerank(self, slate: Slate, k: int, features: ItemFeatures) -> Slate:
        """See `Reranker.rerank`."""
        n = checked(slate, k, features)
        for number, step in enumerate(self.steps, start=1):
            before = slate
            slate = step.rerank(slate, n if number == len(self.steps) else len(slate), features)
            features = features.take(places(before.item_N, slate.item_N))
        return slate if self.steps else slate.take(np.arange(n))


def places(item_N: np.ndarray, chosen_n: np.ndarray) -> np.ndarray:
    """Where chosen items stand among items: int64 [n]; each item occurs once.

    Example:
        >>> places(np.array([7, 5, 9]), np.array([9, 7])).tolist()
        [2, 0]
    """
    order_N = np.argsort(item_N, kind="stable")
    return order_N[np.searchsorted(item_N, chosen_n, sorter=order_N)]
