"""What could be shown: each source's best of what is allowed, with every source's score of it.

Shape: I items, N candidates, S sources.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from muma.candidates.candidate import CandidateModel
from muma.candidates.live import History, Live
from muma.errors import MumaError
from muma.serving.pooling import pooled, scored

LOG = logging.getLogger(__name__)
NONE = np.zeros(0, dtype=np.float32)


@dataclass(frozen=True)
class Proposed:
    """Candidates of one request.

    Attributes:
        item_N: dense items, ascending.
        score_NS: standardised over the catalogue, as in training; NaN where a source has none.
        by_NS: whether a source proposed an item.
        names: of the sources.
        failed: sources that could not answer, with the reason.
    """

    item_N: np.ndarray
    score_NS: np.ndarray
    by_NS: np.ndarray
    names: tuple[str, ...]
    failed: Mapping[str, str]

    def sources(self, place: int) -> tuple[str, ...]:
        """Names of the sources that proposed a candidate."""
        by_S = self.by_NS[place].tolist()
        return tuple(name for name, by in zip(self.names, by_S, strict=True) if by)

    def of(self, item: int) -> tuple[str, ...]:
        """The same of a dense item that is a candidate."""
        return self.sources(int(np.searchsorted(self.item_N, item)))


def propose(
    sources: Mapping[str, CandidateModel],
    history: History,
    allowed_I: np.ndarray,
    pool: int,
    *,
    wanted_N: np.ndarray | None = None,
) -> Proposed:
    """Ask every source; one that fails is left out and said.

    Args:
        sources: live candidate models.
        history: of the user, or of the session.
        allowed_I: items that may be shown at all, boolean [I].
        pool: items that each source proposes.
        wanted_N: the caller's own items instead of the sources' proposals.
    """
    raw_S: list[np.ndarray] = []
    failed = {}
    for name, source in sources.items():
        try:
            raw_S.append(cast("Live", source).score_history(history))
        except MumaError as error:
            failed[name] = str(error)
            raw_S.append(NONE)
            LOG.warning("source failed", extra={"source": name, "reason": str(error)})
    length_S = np.array([len(raw_I) for raw_I in raw_S], dtype=np.int64)
    score_SI = np.empty((len(raw_S), length_S.max(initial=0)), dtype=np.float32)
    for place, raw_I in enumerate(raw_S):
        score_SI[place, : len(raw_I)] = raw_I
    if wanted_N is None:
        item_N, score_NS, by_NS = pooled(score_SI, length_S, allowed_I, pool)
    else:
        item_N = np.unique(wanted_N[allowed_I[wanted_N]])
        score_NS = scored(score_SI, length_S, item_N)
        by_NS = np.zeros(score_NS.shape, dtype=bool)
    return Proposed(item_N, score_NS, by_NS, tuple(sources), failed)
