"""The contract of this room: `Candidates`, and what a candidate model must do.

Shape: B users, N candidates per user, I items of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import numpy as np
from scipy.sparse import csr_array

from muma.artifact import Artifact, Writer
from muma.events.event import EventLog


@dataclass(frozen=True)
class Candidates:
    """Proposed items, best first, and the score each source gives them.

    Attributes:
        user_B: dense user indices, int64.
        item_BN: dense item indices, int64; `muma.topk.NO_ITEM` pads a user with fewer than N.
        scores: one float32 array [B, N] per source; NaN where that source has no score and where
            there is no item. The first entry is the one that ordered the items.
    """

    user_B: np.ndarray
    item_BN: np.ndarray
    scores: Mapping[str, np.ndarray]


class CandidateModel(Protocol):
    """Proposes items from the log alone.

    Fitting reads only the events of the log it is given; histories used for scoring are the ones of
    the same log. Users and items are indices into the log's vocabularies.
    """

    name: str

    def fit(self, log: EventLog) -> Self:
        """Learn from `log` and return self; fitting again starts anew.

        Raises:
            DataError: the log holds nothing to learn from.
        """
        ...

    def score(self, user_B: np.ndarray) -> np.ndarray:
        """Score the whole catalogue.

        Args:
            user_B: dense user indices; callers pass blocks, not all users at once.

        Returns:
            float32 [B, I]; -inf marks an item that must not be proposed (never seen in fitting).

        Raises:
            NotFittedError: `fit` was not called.
            DataError: a user index is outside the log.
        """
        ...

    def propose(
        self, user_B: np.ndarray, k: int, *, exclude: csr_array | None = None
    ) -> Candidates:
        """Best `k` items per user.

        Equal scores go to the item with more interactions in the fit log, then to the lower index.
        A user without history scores the same everywhere, and so is given the popular items.

        Args:
            user_B: dense user indices, any number of them.
            k: length of each list.
            exclude: boolean [B, I], rows aligned with `user_B`: items not to propose.

        Raises:
            NotFittedError: `fit` was not called.
            ConfigError: `k` is negative.
            DataError: a user index is outside the log, or `exclude` has another shape.
        """
        ...

    def save(self, writer: Writer) -> None:
        """Write what `load` needs as files of an artifact."""
        ...

    @classmethod
    def load(cls, artifact: Artifact, log: EventLog) -> Self:
        """Read what `save` wrote."""
        ...


@runtime_checkable
class Resumable(Protocol):
    """A candidate model whose fitting takes long: it keeps its progress on disk."""

    def work_in(self, folder: Path) -> None:
        """Keep the progress of later fits below `folder`, and go on from what is found there.

        Every combination of parameters and data has a folder of its own, with a learning curve
        (`curve.jsonl`, one row an epoch).
        """
        ...
