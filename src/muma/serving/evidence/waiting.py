"""Answers whose rewards are still coming in: events go in, slots that are decided come out, each once.

A slot is decided when it has earned the greatest weight, or when nothing that arrives can count any more
(`RewardConfig`). What is kept of an answer until then holds no name of a person or of the request.

Shape: K slots.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from muma.errors import StoreError
from muma.serving.evidence.rewards import RewardConfig


class Waiting(msgspec.Struct, array_like=True):
    """An answer that is waited for.

    Attributes:
        time: of the decision, microseconds.
        user: dense index of who answered back first.
        item_K: dense items.
        propensity_K: of the decision.
        explored_K: of the decision.
        reward_K: what came so far; None for a slot that was not shown.
        done_K: whether it was handed on.
    """

    time: int
    user: int
    item_K: list[int]
    propensity_K: list[float]
    explored_K: list[bool]
    reward_K: list[float | None]
    done_K: list[bool]


@dataclass(frozen=True)
class Came:
    """An event that names a request and an item.

    Attributes:
        item: dense.
        weight: what its kind is worth; 0 for an impression.
        at: when it happened, microseconds.
        arrived: when it arrived, microseconds.
    """

    item: int
    weight: float
    at: int
    arrived: int


@dataclass(frozen=True)
class Decided:
    """A shown slot and what it earned."""

    item: int
    reward: float
    time: int
    propensity: float
    explored: bool


@dataclass
class WaitingRoom:
    """All answers that are waited for, by a number that names the request.

    Attributes:
        rule: what a slot earned.
        held: by the request's number.
        changed: numbers whose answers changed since `settled`.
        gone: numbers of those that left since.
        late: events that came too late or too early, so far.
        unknown: events of items that were not in their answer, so far.

    Example:
        >>> room = WaitingRoom(RewardConfig(wait_s=10, late_s=0))
        >>> room.admit(1, Waiting(0, 5, [7, 8], [0.5, 0.5], [False] * 2, [None] * 2, [False] * 2))
        >>> list(room.take(1, Came(8, 0.0, 1_000, 1_000)))
        []
        >>> list(room.take(1, Came(8, 1.0, 2_000, 2_000)))
        [Decided(item=8, reward=1.0, time=0, propensity=0.5, explored=False)]
        >>> list(room.take(1, Came(8, 1.0, 2_000, 3_000))), list(room.close(20_000_000))
        ([], [])
    """

    rule: RewardConfig
    held: dict[int, Waiting] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    late: int = 0
    unknown: int = 0
    _closing: list[tuple[int, int]] = field(default_factory=list)

    def admit(self, number: int, waiting: Waiting) -> None:
        """Wait for an answer's rewards."""
        if self.rule.shown_by is None:
            waiting.reward_K = [0.0 if r is None else r for r in waiting.reward_K]
        self.held[number] = waiting
        self.changed.add(number)
        heapq.heappush(self._closing, (waiting.time + self.rule.closing_us, number))

    def take(self, number: int, came: Came) -> Iterator[Decided]:
        """Take an event of an answer that is held."""
        waiting = self.held[number]
        if not self.rule.counts(waiting.time, came.at, came.arrived):
            self.late += 1
            return
        if came.item not in waiting.item_K:
            self.unknown += 1
            return
        slot = waiting.item_K.index(came.item)
        before = waiting.reward_K[slot]
        if waiting.done_K[slot] or (before is not None and before >= came.weight):
            return
        waiting.reward_K[slot] = came.weight
        self.changed.add(number)
        if came.weight >= self.rule.most:
            yield self._decided(waiting, slot)

    def close(self, clock: int) -> Iterator[Decided]:
        """Let go of answers for which nothing can count any more.

        Args:
            clock: everything that arrived up to this moment was taken, microseconds.
        """
        while self._closing and self._closing[0][0] < clock:
            _, number = heapq.heappop(self._closing)
            waiting = self.held.pop(number, None)
            if waiting is None:
                continue
            self.changed.discard(number)
            self.gone.add(number)
            for slot, reward in enumerate(waiting.reward_K):
                if reward is not None and not waiting.done_K[slot]:
                    yield self._decided(waiting, slot)

    def forget(self, user: int) -> int:
        """Let go of a user's answers; returns how many there were."""
        mine = [number for number, waiting in self.held.items() if waiting.user == user]
        for number in mine:
            del self.held[number]
            self.changed.discard(number)
        self.gone.update(mine)
        return len(mine)

    def settled(self) -> None:
        """What changed is kept now."""
        self.changed.clear()
        self.gone.clear()

    @classmethod
    def of(cls, rule: RewardConfig, records: Iterable[tuple[int, bytes]]) -> WaitingRoom:
        """The room again, from what was kept of it."""
        room = cls(rule)
        for number, raw in records:
            room.admit(number, decoded(raw))
        room.settled()
        return room

    def _decided(self, waiting: Waiting, slot: int) -> Decided:
        waiting.done_K[slot] = True
        return Decided(
            waiting.item_K[slot], float(waiting.reward_K[slot] or 0.0), waiting.time,
            waiting.propensity_K[slot], waiting.explored_K[slot],
        )  # fmt: skip


def encoded(waiting: Waiting) -> bytes:
    """As it is kept."""
    return msgspec.msgpack.encode(waiting)


def decoded(raw: bytes) -> Waiting:
    """From what was kept.

    Raises:
        StoreError: it is damaged.
    """
    try:
        return msgspec.msgpack.decode(raw, type=Waiting)
    except msgspec.MsgspecError as error:
        raise StoreError(f"an answer that is waited for cannot be read: {error}") from None
