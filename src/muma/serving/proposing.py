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
from muma.candidates.scale import scale_of, standardised
from muma.errors import MumaError

LOG = logging.getLogger(__name__)


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
    raw: dict[int, np.ndarray] = {}
    chosen, failed = [], {}
    for place, (name, source) in enumerate(sources.items()):
        try:
            raw_I = cast("Live", source).score_history(history)
        except MumaError as error:
            failed[name] = str(error)
            LOG.warning("source failed", extra={"source": name, "reason": str(error)})
            continue
        raw[place] = raw_I
        if wanted_N is None:
            chosen.append((place, _best(raw_I, allowed_I[: len(raw_I)], pool)))
    if wanted_N is None:
        item_N = np.unique(np.concatenate([best for _, best in chosen] or [np.zeros(0, int)]))
    else:
        item_N = np.unique(wanted_N[allowed_I[wanted_N]])
    by_NS = np.zeros((len(item_N), len(sources)), dtype=bool)
    for place, best in chosen:
        by_NS[np.searchsorted(item_N, best), place] = True
    score_NS = np.full((len(item_N), len(sources)), np.nan, dtype=np.float32)
    for place, raw_I in raw.items():
        known = int(np.searchsorted(item_N, len(raw_I)))  # later items are new to the models
        score_NS[:known, place] = standardised(raw_I[item_N[:known]], scale_of(raw_I))
    return Proposed(item_N, score_NS, by_NS, tuple(sources), failed)


def _best(score_I: np.ndarray, allowed_I: np.ndarray, pool: int) -> np.ndarray:
    """The `pool` allowed items with the greatest scores."""
    closed_I = np.where(allowed_I, -score_I, np.inf)
    pool = min(pool, len(closed_I))
    place = closed_I.argpartition(pool - 1)[:pool] if pool else np.zeros(0, int)
    return place[np.isfinite(closed_I[place])]
