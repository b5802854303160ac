"""How often an item was taken, old interactions fading: the same list for everybody.

    score_i = sum over interactions e of item i:  weight_e * 2^(-(t_last - t_e) / half_life)

`t_last` is the last positive interaction of the fit log, so that nothing later is used.

Shape: B users, F fitted items.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from muma.candidates.base import CatalogueModel, ModelConfig
from muma.candidates.live import History
from muma.events.interactions import Interactions

DAY = 86_400_000_000  # microseconds


class PopularityConfig(ModelConfig):
    """Parameters of `Popularity`.

    Attributes:
        half_life_days: age at which an interaction counts half, in days; None never fades.
    """

    name: str = "popularity"
    half_life_days: float | None = Field(default=None, gt=0)


class Popularity(CatalogueModel):
    """Counts of interactions with exponential fading.

    Example:
        >>> from muma.testing.logs import tiny_log
        >>> model = Popularity().fit(tiny_log({0: [1], 1: [1, 0]}))
        >>> model.score(np.array([0])).tolist()
        [[1.0, 2.0]]
    """

    config: PopularityConfig

    def __init__(self, config: PopularityConfig | None = None) -> None:
        super().__init__(config or PopularityConfig())

    def _learn(self, history: Interactions) -> Mapping[str, np.ndarray]:
        weight_E = history.weight_E.astype(np.float64)
        if self.config.half_life_days is not None:
            age_E = (history.timestamp_E.max() - history.timestamp_E) / DAY
            weight_E = weight_E * 0.5 ** (age_E / self.config.half_life_days)
        score_F = np.bincount(history.item_E, weight_E, minlength=history.n_items)
        return {"score_F": score_F.astype(np.float32)}

    def _ready(self, learned: Mapping[str, np.ndarray], history: Interactions) -> None:  # noqa: ARG002
        self._score_F = learned["score_F"]

    def _score(self, user_B: np.ndarray) -> np.ndarray:
        return np.broadcast_to(self._score_F, (len(user_B), len(self._score_F)))

    def _score_history(self, history: History) -> np.ndarray:  # noqa: ARG002
        return self._score_F
