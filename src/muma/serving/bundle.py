"""What one version of the models brings: sources, rankers, and how a row of features is put together.

A bundle never changes. Promotion swaps one for another in a single assignment, so that an answer is made
by one version from end to end.

Shape: I items that the models know, U users that they know, F features, C request context.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from muma.candidates.candidate import CandidateModel
from muma.candidates.live import Live
from muma.errors import ConfigError
from muma.ranking.multi import MultiRanker
from muma.ranking.sentences import SentencesConfig

LISTS, IMPRESSIONS = "lists", "impressions"


@dataclass(frozen=True)
class Bundle:
    """One version.

    Attributes:
        version: names it in answers and evidence.
        learned_until: event time up to which the sources learned, UTC microseconds.
        sources: by name, in the order of their columns.
        rankers: `lists`, and `impressions` where the log has any.
        features: names of the real-time features that rows begin with.
        item_IA, user_UA: attributes that follow, float32; NaN where unknown.
        context: reads a request's context, float32 [C]; it comes last, for impressions only.
        sequence: name of the sequence of the feature store that histories are read from.
        signal: kind of event -> weight; what counts as wanting an item.
        mask_taken: leave out what the user has taken, as in training.
        pool: items that each source proposes.
        words: how reasons are said.
    """

    version: str
    learned_until: int
    sources: Mapping[str, CandidateModel]
    rankers: Mapping[str, MultiRanker]
    features: tuple[str, ...]
    item_IA: np.ndarray
    user_UA: np.ndarray
    context: Callable[[Mapping[str, float | str]], np.ndarray]
    sequence: str
    signal: Mapping[str, float]
    mask_taken: bool
    pool: int
    words: SentencesConfig

    def __post_init__(self) -> None:
        if odd := [name for name, source in self.sources.items() if not isinstance(source, Live)]:
            raise ConfigError(
                f"source {odd[0]!r} cannot score a history in hand, which a service needs; leave it out "
                "of ranking.sources"
            )

    @property
    def n_items(self) -> int:
        """Items that the models know."""
        return len(self.item_IA)

    def rows(
        self, live_NF: np.ndarray, user: int, item_N: np.ndarray, score_NS: np.ndarray
    ) -> np.ndarray:
        """Rows as the ranker of lists learned them: float32 [N, F], C-contiguous."""
        width, items, users = live_NF.shape[1], self.item_IA.shape[1], self.user_UA.shape[1]
        row_NF = np.empty((len(item_N), width + items + users + score_NS.shape[1]), np.float32)
        row_NF[:, :width] = live_NF
        known_N = item_N < self.n_items
        item_NA = self.item_IA[np.where(known_N, item_N, 0)] if self.n_items else np.nan
        row_NF[:, width : width + items] = np.where(known_N[:, None], item_NA, np.nan)
        known = 0 <= user < len(self.user_UA)
        row_NF[:, width + items : width + items + users] = self.user_UA[user] if known else np.nan
        row_NF[:, width + items + users :] = score_NS
        return row_NF
