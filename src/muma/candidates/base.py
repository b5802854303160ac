"""What every single model shares: the fit guard, blocks, lists, saving and loading.

A model learns and scores in a compact space: the F items with an interaction in the fit log, most
popular first. Items outside it can never be proposed, and ties fall to the more popular item.

Shape: B users, U users of the vocabulary, I items of the vocabulary, F fitted items.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Self

import numba
import numpy as np
from scipy.sparse import csr_array

from muma.artifact import Artifact, Writer
from muma.candidates.candidate import Candidates
from muma.candidates.listing import CELLS, by_popularity, lists
from muma.candidates.live import History
from muma.candidates.storage import load_config, save_config
from muma.config import Config, config_type
from muma.errors import ConfigError, DataError, NotFittedError
from muma.events.event import EventLog
from muma.events.interactions import Interactions, Signal, interactions, known_users

ARRAYS = "model.npz"


class ModelConfig(Config):
    """What every model's config holds.

    Attributes:
        name: key of its scores in `Candidates.scores`.
        signal: which events count as positive.
    """

    name: str
    signal: Signal = Signal()


class ListingModel(ABC):
    """Lists and catalogue scores from one method, `_score`, over the F items that have a place."""

    cells: int = CELLS
    """Scores held at once while proposing; any value gives the same lists."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._item_F: np.ndarray | None = None
        self._n_users = self._n_items = 0

    def score(self, user_B: np.ndarray) -> np.ndarray:
        """Score the whole catalogue; see `CandidateModel.score`."""
        item_F = self._fitted()
        user_B = known_users(user_B, self._n_users)
        score_BI = np.full((len(user_B), self._n_items), -np.inf, dtype=np.float32)
        for row_I, score_F in zip(score_BI, self._score(user_B), strict=True):
            row_I[item_F] = score_F  # a row at a time stays in the cache
        return score_BI

    def propose(
        self, user_B: np.ndarray, k: int, *, exclude: csr_array | None = None
    ) -> Candidates:
        """Best `k` items per user; see `CandidateModel.propose`."""
        item_F = self._fitted()
        return lists(
            lambda block_B: {self.name: self._score(block_B)},
            item_F,
            known_users(user_B, self._n_users),
            k,
            n_items=self._n_items,
            exclude=exclude,
            cells=self.cells,
        )

    def _fitted(self) -> np.ndarray:
        if self._item_F is None:
            raise NotFittedError(f"{self.name} is not fitted; call fit(log) first")
        return self._item_F

    @abstractmethod
    def _score(self, user_B: np.ndarray) -> np.ndarray:
        """Float32 [B, F]; must not depend on the other users of the block."""


class CatalogueModel(ListingModel):
    """A `CandidateModel` that needs three methods: `_learn`, `_ready` and `_score`.

    A user without interactions must score the same everywhere (0, by convention). One that also has
    `_score_history` is `Live`.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config.name)
        self.config = config
        self._learned: Mapping[str, np.ndarray] = {}

    def fit(self, log: EventLog) -> Self:
        """Learn from `log` and return self; fitting again starts anew.

        Raises:
            DataError: the log holds no positive interaction.
        """
        events = interactions(log, self.config.signal)
        if not len(events):
            raise DataError(
                f"{self.name}: the log holds no positive interaction; positive kinds are "
                f"{', '.join(self.config.signal.kinds)}"
            )
        item_F = by_popularity(events.counts)[: np.count_nonzero(events.counts)]
        history = events.within(item_F)
        return self._install(item_F, self._learn(history), history, log)

    def save(self, writer: Writer) -> None:
        """Write the config and what was learned."""
        arrays = {"item_F": self._fitted(), **self._learned}
        save_config(writer, self.config)
        writer.arrays(ARRAYS, arrays)

    @classmethod
    def load(cls, artifact: Artifact, log: EventLog) -> Self:
        """Read what `save` wrote; histories are the ones of `log`, which may have grown.

        Raises:
            DataError: `log` knows fewer items than the fit log.
        """
        model = cls(load_config(artifact, config_type(cls)))  # pyright: ignore[reportArgumentType]
        learned = artifact.arrays(ARRAYS)
        item_F = learned.pop("item_F")
        if log.n_items <= item_F.max():
            raise DataError(
                f"{model.name} was fitted with at least {item_F.max() + 1} items, the log has "
                f"{log.n_items}; load it with the log it was fitted on or a later one"
            )
        history = interactions(log, model.config.signal).within(item_F)
        return model._install(item_F, learned, history, log)

    def _install(
        self,
        item_F: np.ndarray,
        learned: Mapping[str, np.ndarray],
        history: Interactions,
        log: EventLog,
    ) -> Self:
        self._ready(learned, history)
        self._item_F, self._learned = item_F, learned
        self._column_I = np.full(log.n_items, -1)
        self._column_I[item_F] = np.arange(len(item_F))
        self._n_users, self._n_items = log.n_users, log.n_items
        return self

    def score_history(self, history: History) -> np.ndarray:
        """Score the whole catalogue for a history; see `Live`."""
        item_F = self._fitted()
        return _spread(self._score_history(history.within(self._column_I)), item_F, self._n_items)

    def _score_history(self, history: History) -> np.ndarray:  # noqa: ARG002
        """Float32 [F] for a history whose items are columns of F."""
        raise ConfigError(
            f"{self.name} scores users of its log only; use Popularity, Markov, EASE, ItemKNN, ALS or "
            "a Blend of them in a service"
        )

    @abstractmethod
    def _learn(self, history: Interactions) -> Mapping[str, np.ndarray]:
        """Everything learned from `history` (items are columns of F), as arrays to be saved."""

    @abstractmethod
    def _ready(self, learned: Mapping[str, np.ndarray], history: Interactions) -> None:
        """Keep what `_score` needs."""


@numba.njit(cache=True, nogil=True)
def _spread(score_F: np.ndarray, item_F: np.ndarray, n_items: int) -> np.ndarray:
    """Scores of every item, float32 [I]; -inf without a place in F."""
    score_I = np.full(n_items, -np.inf, dtype=np.float32)
    for f in range(len(item_F)):
        score_I[item_F[f]] = score_F[f]
    return score_I
