"""What is kept under one kind of key: states, their partials, and what is read of them.

The state of a key is one row of 64-bit integers, all zero when nothing has happened:

    row[0]        time of the newest event that wrote here, microseconds + 1
    Sliding       `slots` x [pane + 1, words ...]: the ring; pane k lives in slot k mod slots
    Decay         [epoch + 1, words ...] of the folded past, then `slots` x [epoch + 1, words ...]
    AllTime       [words ...]
    Gap           `slots` x [start + 1, end + 1, words ...], newest session first
    sequence      [count], then `slots` x [time, item + 1 << 16 | kind << 8 | domain, dwell], oldest first

Words of `min` hold `high - value + 1` and of `max` `value - low + 1`, so that zero means nothing and
both merge by maximum. Sketch registers lie eight to a word, the first in the lowest byte.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from muma.features.feature import Partial
from muma.features.keys import KeyKind
from muma.features.measure import Measure
from muma.features.window import DECAY_LIMIT

SLIDING, DECAY, ALL_TIME, GAP, SEQUENCE = range(5)
ADD, BEST, HLL, BUCKET = range(4)
LIVE_EPOCHS = 4  # epochs of a decayed sum that can still take late events
HEADER = 1  # words before the first state


@dataclass(frozen=True)
class Write:
    """A bit of an event: it passes the filter `where` and has the column `needs`."""

    where: str
    needs: str


@dataclass(frozen=True)
class Column:
    """A column of integers prepared per event: a measure, or an id as number or as hash coupon."""

    measure: Measure
    hashed: bool = False


@dataclass
class State:
    """One state inside a row (see the module's picture)."""

    kind: int
    span: int  # pane, half-life or gap in microseconds; 0 else
    slots: int
    horizon: int  # microseconds; -1 is for ever
    member: int  # write that makes an event a member (sessions, sequences); -1 else
    label: str
    offset: int = 0
    stride: int = 0
    partials: list[Partial] = field(default_factory=list)
    first_part: int = 0

    @property
    def head(self) -> int:
        """Words before a slot's partials."""
        return {SLIDING: 1, DECAY: 1, ALL_TIME: 0, GAP: 2, SEQUENCE: 0}[self.kind]

    @property
    def words(self) -> int:
        """Words of the whole state."""
        return {
            SLIDING: self.slots * self.stride,
            DECAY: (self.slots + 1) * self.stride,
            ALL_TIME: self.stride,
            GAP: self.slots * self.stride,
            SEQUENCE: 1 + self.slots * 3,
        }[self.kind]

    @property
    def reach(self) -> int:
        """Microseconds after its newest event at which the state reads as nothing; -1 is never."""
        if self.kind == SLIDING:
            return self.slots * self.span
        if self.kind == DECAY:
            return DECAY_LIMIT * self.span
        # a session stays open to members for its gap
        return max(self.horizon, self.span) if self.kind == GAP else self.horizon


@dataclass(frozen=True)
class Read:
    """A merged partial: where it is kept and where it goes in the merged integers."""

    state: int
    part: int  # place among the state's partials
    argument: int  # panes of a window; 0 open or 1 closed session
    place: int  # first word among the merged words of the key kind
    words: int


@dataclass
class KindPlan:
    """Everything kept under one kind of key, as objects and as the arrays that kernels read.

    Shape:
        state_table: int64 [S, 9] = kind, span, slots, offset, stride, first part, end part, horizon,
            member write.
        part_table: int64 [P, 6] = op, write, column, words, word offset in a slot, bound.
        sign_table: int64 [P]: a `BEST` part keeps the maximum of `sign * (value - bound)`, where
            the sign is -1 and the bound `high + 1` for a min, +1 and `low - 1` for a max.
        read_table: int64 [R, 5] = state, part, argument, place, words.
    """

    key: KeyKind
    states: list[State] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    width: int = HEADER
    merged: int = 0
    state_table: np.ndarray = field(default_factory=lambda: np.zeros((0, 9), np.int64))
    part_table: np.ndarray = field(default_factory=lambda: np.zeros((0, 6), np.int64))
    sign_table: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    read_table: np.ndarray = field(default_factory=lambda: np.zeros((0, 5), np.int64))

    @property
    def name(self) -> str:
        """Name of the kind of key: the store's table."""
        return self.key.name

    @property
    def reach(self) -> int:
        """Microseconds after its newest event at which a key reads as nothing; -1 is never."""
        reaches = [state.reach for state in self.states]
        return -1 if -1 in reaches else max(reaches, default=0)
