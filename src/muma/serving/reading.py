"""What is known of who asks: history, items not wanted, and features of candidates, from the last commit.

Shape: L events of a sequence, N candidates, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from muma.candidates.live import History, history_of
from muma.events.stream import ACTIONS
from muma.features.feature import Sequences
from muma.features.online.reader import FeatureReader
from muma.serving.bundle import Bundle
from muma.serving.consent.columns import columns_of, without_kinds
from muma.serving.facts import ItemFacts
from muma.serving.rules.rule import UserState

NOBODY = -1
NONE = np.zeros(0, dtype=np.int64)
HIDDEN = "hidden"
"""Name of the sequence of items that the user does not want, if the recipe keeps one."""


@dataclass(frozen=True)
class Known:
    """What is known of who asks.

    Attributes:
        history: positive interactions, of the store or of the session.
        state: what rules know of the user.
        as_of: newest event time in what was read, microseconds; -1 for nothing.
    """

    history: History
    state: UserState = field(default_factory=UserState)
    as_of: int = -1


class Reader(Protocol):
    """What the engine asks of the store; see `LiveReader`."""

    def known(self, bundle: Bundle, user: int, at: int, off: Sequence[str] = ()) -> Known:
        """A user's history, and what the user has seen and hidden; nothing of the sources `off`."""
        ...

    def features(
        self, user: int, item_N: np.ndarray, at: int, off: Sequence[str] = ()
    ) -> np.ndarray:
        """Real-time features of candidates, float64 [N, F]; those of the sources `off` are NaN."""
        ...

    def told(self, bundle: Bundle, user: int, facts: ItemFacts) -> dict[str, object]:
        """What is known of a user, by name, agreed to or not: it is the user's own to see."""
        ...


class LiveReader:
    """Reads the store for answers; threads may share it.

    Args:
        history: reads the sequences alone.
        features: reads the columns alone.
    """

    def __init__(self, history: FeatureReader, features: FeatureReader) -> None:
        self._history, self._features = history, features
        self._private = columns_of(features.plan)

    def known(self, bundle: Bundle, user: int, at: int, off: Sequence[str] = ()) -> Known:
        """A user's history, and what the user has seen and hidden.

        Args:
            bundle: says which sequence, and which kinds of events count.
            user: dense index, not -1.
            at: microseconds; events from then on do not count.
            off: sources that the user has not agreed to; their events do not count.

        Raises:
            StoreError: the store cannot be read.
        """
        found = self._history.sequences(user, at)
        if off:
            found = {name: without_kinds(one, off) for name, one in found.items()}
        sequence = found[bundle.sequence]
        history = history_of(sequence, bundle.signal, at=at)
        mine = sequence.mask_BL[0] & (sequence.item_BL[0] >= 0)
        newest = sequence.time_BL[0][mine]
        state = UserState(sequence.item_BL[0][mine], newest, _hidden(found))
        return Known(history, state, int(newest[-1]) if len(newest) else -1)

    def features(
        self, user: int, item_N: np.ndarray, at: int, off: Sequence[str] = ()
    ) -> np.ndarray:
        """Real-time features of candidates, float64 [N, F]; those of the sources `off` are NaN.

        Raises:
            StoreError: the store cannot be read.
        """
        value_NF = self._features.lookup(user, item_N, at).values_BF
        for source in off:
            if source in self._private:
                value_NF[:, self._private[source]] = np.nan
        return value_NF

    def newest(self) -> int:
        """Newest event time that the features have seen, microseconds."""
        return self._features.freshness().watermark

    def told(self, bundle: Bundle, user: int, facts: ItemFacts) -> dict[str, object]:
        """What is known of a user, by name: features of the user alone, history, freshness."""
        now = self._features.freshness()
        at = now.watermark + 1
        known = self.known(bundle, user, at)
        table = self._features.lookup(user, np.array([NOBODY]), at)
        mine = {
            name: (None if np.isnan(value) else float(value))
            for name, value in zip(table.columns, table.values_BF[0], strict=True)
            if name.startswith("user.")
        }
        return {
            "features": mine,
            "history": _told(known.history.sequence, facts),
            "as_of": known.as_of,
            "store": {"version": now.version, "watermark": now.watermark},
        }


def of_session(item_L: np.ndarray, at: int) -> Known:
    """What an anonymous visitor's session tells."""
    if not len(item_L):
        return Known(History(NONE, NO_WEIGHT, NO_SEQUENCE, at), UserState(NONE))
    history = History(item_L, np.ones(len(item_L), dtype=np.float32), _sequence(item_L, at), at)
    return Known(history, UserState(item_L))


def _sequence(item_L: np.ndarray, at: int) -> Sequences:
    """Items of a session as an encoder reads them."""
    return Sequences(
        item_BL=item_L[None], time_BL=np.full((1, len(item_L)), at, dtype=np.int64),
        kind_BL=np.zeros((1, len(item_L)), dtype=np.int64),
        domain_BL=np.full((1, len(item_L)), -1, dtype=np.int64),
        dwell_BL=np.full((1, len(item_L)), -1, dtype=np.int64),
        mask_BL=np.ones((1, len(item_L)), dtype=bool),
    )  # fmt: skip


NO_WEIGHT = np.zeros(0, dtype=np.float32)
NO_SEQUENCE = _sequence(NONE, 0)


def _told(sequence: Sequences | None, facts: ItemFacts) -> list[dict[str, object]]:
    """Events of a sequence, newest first."""
    if sequence is None:
        return []
    mine = sequence.mask_BL[0] & (sequence.item_BL[0] >= 0) & (sequence.item_BL[0] < len(facts))
    columns = (sequence.item_BL, sequence.time_BL, sequence.kind_BL)
    rows = zip(*(column[0][mine].tolist() for column in columns), strict=True)
    told = [{"item": facts.ids[i], "time": time, "kind": ACTIONS[k]} for i, time, k in rows]
    return told[::-1]


def _hidden(found: Mapping[str, Sequences]) -> np.ndarray:
    sequence = found.get(HIDDEN)
    if sequence is None:
        return NONE
    item_L = sequence.item_BL[0]
    return item_L[sequence.mask_BL[0] & (item_L >= 0)]
