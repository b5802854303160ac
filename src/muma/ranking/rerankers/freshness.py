"""Freshness: new items get log-odds on top, and the answer says how many.

    boost(i) = weight * 2 ^ (-age(i) / half_life)

It is added to the score, so it stands in the attributions as one more column, `rerank.freshness`, whose
feature value is the age in hours.

Shape: N candidates, F features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.errors import DataError
from muma.ranking.ranker import Attribute, Slate
from muma.ranking.reranker import ItemFeatures, checked

COLUMN = "rerank.freshness"


class FreshnessConfig(Config):
    """Settings of the freshness boost.

    Attributes:
        weight: log-odds given to an item published now, 0 or more.
        half_life: hours after which the boost has halved.
    """

    weight: float = Field(default=0.5, ge=0)
    half_life: float = Field(default=24.0, gt=0)


class Freshness:
    """Adds a boost that decays with age and sorts again; an unknown age gets none.

    Args:
        config: the settings.
    """

    def __init__(self, config: FreshnessConfig = FreshnessConfig()) -> None:
        self.config = config

    def rerank(self, slate: Slate, k: int, features: ItemFeatures) -> Slate:
        """See `Reranker.rerank`.

        Raises:
            DataError: the slate was boosted before, or `features.now` is not finite.
        """
        n = checked(slate, k, features)
        if COLUMN in slate.columns:
            raise DataError(f"the slate has a column {COLUMN!r} already; boost it once")
        published_N = features.need("published_N", "Freshness")
        if not np.isfinite(features.now):
            raise DataError(f"now is {features.now}; give the time of the request in seconds")
        hours_N = np.maximum((features.now - published_N) / 3600, 0.0).astype(np.float32)
        explain = _Boosted(slate.explained, self.config.weight, self.config.half_life)
        boosted = replace(
            slate,
            score_N=slate.score_N + explain.boost(hours_N),
            value_NF=np.concatenate([slate.value_NF, hours_N[:, None]], axis=1, dtype=np.float32),
            columns=(*slate.columns, COLUMN),
            attribute=explain,
        )
        return boosted.take(np.argsort(-boosted.score_N, kind="stable")[:n])


@dataclass(frozen=True)
class _Boosted:
    """Attributions of the inner score with the boost beside them, before the base."""

    inner: Attribute
    weight: float
    half_life: float

    def boost(self, hours_N: np.ndarray) -> np.ndarray:
        """Log-odds for ages in hours; 0 where the age is NaN."""
        boost_N = self.weight * np.exp2(-hours_N.astype(np.float64) / self.half_life)
        return np.where(np.isnan(hours_N), 0.0, boost_N)

    def __call__(self, value_NF: np.ndarray) -> np.ndarray:
        part_NF = self.inner(np.ascontiguousarray(value_NF[:, :-1]))
        return np.insert(part_NF, -1, self.boost(value_NF[:, -1]), axis=1)
