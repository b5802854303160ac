"""Slot by slot: which candidates may stand in the next one.

A policy draws among the open candidates only, so that its probabilities, scaled to one, stay exact
given the slots before. Pins have their slots from the beginning: their places count for caps and quotas
in every slot before them.

    longest list that the maximums allow -> pins -> minimums, lowered from the last rule on where the
    candidates cannot keep them -> slot for slot, only what leaves a way to keep them all

Shape: N candidates, K slots.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from muma.errors import DataError
from muma.serving.rules.limits import Layout, Limit, lay_out
from muma.serving.rules.search import FOUND, FULL, GAVE_UP, UNMET, State, full, place, solve
from muma.serving.rules.step import may_take, take

BUDGET = 2_000  # nodes of one search; about 2 us each with 200 candidates


@dataclass(frozen=True)
class Pinned:
    """A pin in one request.

    Attributes:
        rule: its id.
        slot: as the rule says.
        place: of its item among the candidates; -1 when it is not among them, or forbidden.
    """

    rule: str
    slot: int
    place: int


@dataclass
class _Start:
    """A list before its first slot."""

    layout: Layout
    state: State
    plan_N: np.ndarray
    pin_at: dict[int, int] = field(default_factory=dict)  # slot -> place


class Slots:
    """The slots of one list. Not for several threads.

    Args:
        allowed_N: candidates that no rule forbids, boolean [N].
        count: slots asked for, at least 1.
        limits: limit rules that hold, in the order of the set.
        pins: pins that hold, in the order of the set.
    """

    def __init__(
        self, allowed_N: np.ndarray, count: int, limits: Sequence[Limit], pins: Sequence[Pinned]
    ) -> None:
        if count < 1:
            raise DataError(f"count is {count}; a list has at least one slot")
        self._allowed_N = allowed_N
        self._limits = limits
        self.notes: dict[tuple[str, str], list[int]] = defaultdict(list)
        self.short: dict[str, int] = {}  # rule -> members that its minimum was lowered by
        for one in limits:
            if one.bounds.low and not len(one.place_X):  # a minimum of what is not there
                self.short[one.rule] = one.bounds.low
                self.notes[one.rule, "relaxed"] += []
        pins = self._sensible(pins, count)
        self._free = not limits and not pins
        self.length = min(count, int(allowed_N.sum()))
        self._chosen: list[int] = []
        self._seen: list[tuple[np.ndarray, np.ndarray]] = []  # why [N], unmet minimums [Q]
        if self._free or not self.length:
            return
        self._begin = self._open_list(pins)
        self._reset()

    @property
    def free_N(self) -> np.ndarray | None:
        """Candidates that may take any slot, where neither limits nor pins say more; else None."""
        return self._allowed_N if self._free else None

    def open_for(self, slot: int, chosen: Sequence[int]) -> np.ndarray:
        """Which candidates may take a slot.

        Args:
            slot: from 0.
            chosen: places of the candidates in the slots before, in slot order.

        Returns:
            Boolean [N]; none is open when the list ends here.

        Raises:
            DataError: `chosen` does not fill the slots before, or holds one that was not open.
        """
        if slot != len(chosen):
            raise DataError(f"slot {slot} was asked for with {len(chosen)} slots filled")
        if self._free or not self.length:
            open_N = self._allowed_N.copy()
            open_N[list(chosen)] = False
            return open_N if slot < self.length else np.zeros_like(open_N)
        if list(chosen[: len(self._chosen)]) != self._chosen:
            self._reset()
        for place_ in chosen[len(self._chosen) :]:
            self._advance(int(place_))
        if slot >= self.length:
            self._ended()
            return np.zeros(len(self._allowed_N), dtype=bool)
        begin = self._begin
        if (pinned := begin.pin_at.get(slot)) is not None:
            open_N = np.zeros(len(self._allowed_N), dtype=bool)
            open_N[pinned] = True
            return open_N
        open_N, why_N, _ = may_take(
            begin.layout.problem, self._state, self._plan_N, begin.layout.segment(slot), BUDGET
        )
        self._seen.append((why_N, self._state.need_Q > 0))
        return open_N

    def kept_out(self) -> Iterator[tuple[str, str, list[int]]]:
        """Rule, action and places of the candidates that limits kept from a slot they were asked for."""
        if not self._seen:
            return
        layout = self._begin.layout
        why_SN = np.stack([why_N for why_N, _ in self._seen])
        found: dict[tuple[str, str], np.ndarray] = {}
        for why in np.unique(why_SN[why_SN >= FULL]).tolist():
            out_N = (why_SN == why).any(axis=0)
            key = layout.rule_G[why - FULL], "capped"
            found[key] = found.get(key, False) | out_N
        unmet_SN = why_SN == UNMET
        unmet_SQ = np.stack([unmet_Q for _, unmet_Q in self._seen])
        for q in np.flatnonzero(unmet_SQ.any(axis=0) & unmet_SN.any()).tolist():
            other_N = (layout.problem.serves_N >> q) & 1 == 0
            out_N = unmet_SN[unmet_SQ[:, q]].any(axis=0) & other_N
            key = layout.rule_Q[q], "kept out"
            found[key] = found.get(key, False) | out_N
        for (rule, action), out_N in found.items():
            if out_N.any():
                yield rule, action, np.flatnonzero(out_N).tolist()

    def pinned_places(self) -> dict[int, int]:
        """Slot -> place of the pins that stand in the list."""
        return {} if self._free or not self.length else dict(self._begin.pin_at)

    def _sensible(self, pins: Sequence[Pinned], count: int) -> list[Pinned]:
        """Pins that can stand side by side; the first of two holds."""
        slots, places, kept = set(), set(), []
        for pin in pins:
            if pin.place < 0 or pin.slot >= count or pin.slot in slots or pin.place in places:
                self.notes[pin.rule, "not pinned"] += [pin.place] if pin.place >= 0 else []
                continue
            slots.add(pin.slot)
            places.add(pin.place)
            kept.append(pin)
        return kept

    def _open_list(self, pins: list[Pinned]) -> _Start:
        """The longest list, then its pins, then its minimums."""
        while True:
            start, dropped = self._lay_pins(pins)
            if dropped:
                pins = [pin for pin in pins if pin is not dropped]
                self.notes[dropped.rule, "not pinned"] += [dropped.place]
                continue
            wanted_Q = start.state.need_Q.copy()
            if solve(start.layout.problem, start.state, start.plan_N, BUDGET)[0] == FOUND:
                break
            start.state.need_Q[:] = 0
            status, _, deepest = solve(start.layout.problem, start.state, start.plan_N, BUDGET)
            if status == FOUND:
                self._lower_minimums(start, wanted_Q)
                break
            reached = len(pins) + deepest if status == GAVE_UP else self.length - 1
            self.length = max(min(reached, self.length - 1), len(pins))
        for pin in pins:
            self.notes[pin.rule, "pinned"] += [pin.place]
        return start

    def _lay_pins(self, pins: list[Pinned]) -> tuple[_Start, Pinned | None]:
        """Put the pins into their slots; names one for which a maximum has no room."""
        layout = lay_out(self._limits, len(self._allowed_N), self.length)
        free_Z = np.diff(layout.ends, prepend=0)
        state = layout.start(free_Z, ~self._allowed_N)
        pin_at, last = {}, self.length
        slot_of = {}
        for pin in sorted(pins, key=lambda pin: -pin.slot):
            last = slot_of[pin.place] = min(pin.slot, last - 1)
        for pin in pins:  # in the order of the set: the first has the room
            slot = slot_of[pin.place]
            z = layout.segment(slot)
            if slot < 0 or full(layout.problem, state.room_G, pin.place, z) >= 0:
                return _Start(layout, state, np.empty(0)), pin
            place(layout.problem, state, pin.place, z, 1)
            pin_at[slot] = pin.place
        plan_N = np.full(len(self._allowed_N), -1, dtype=np.int64)
        return _Start(layout, state, plan_N, pin_at), None

    def _lower_minimums(self, start: _Start, wanted_Q: np.ndarray) -> None:
        """Ask for as much of the minimums as can be had together, the first rule first."""
        need_Q = start.state.need_Q
        problem, plan_N = start.layout.problem, start.plan_N
        spent = 0
        for q in range(len(wanted_Q)):
            for need in range(int(wanted_Q[q]), 0, -1):
                need_Q[q] = need
                status, nodes, _ = solve(problem, start.state, plan_N, BUDGET)
                spent += nodes
                if status == FOUND:
                    break
                need_Q[q] = 0
                if spent > 10 * BUDGET:
                    break
            if (lack := int(max(wanted_Q[q], 0) - need_Q[q])) > 0:
                rule = start.layout.rule_Q[q]
                self.short[rule] = self.short.get(rule, 0) + lack
                self.notes[rule, "relaxed"] += []

    def _reset(self) -> None:
        begin = self._begin
        self._state = State(*(array.copy() for array in begin.state))
        self._plan_N = begin.plan_N.copy()
        self._chosen, self._seen = [], []

    def _advance(self, chosen: int) -> None:
        begin, slot = self._begin, len(self._chosen)
        pinned = begin.pin_at.get(slot)
        inside = 0 <= chosen < len(self._allowed_N) and slot < self.length
        good = (
            chosen == pinned
            if pinned is not None or not inside
            else take(
                begin.layout.problem, self._state, self._plan_N, chosen,
                begin.layout.segment(slot), BUDGET,
            )
        )  # fmt: skip
        if not good:
            raise DataError(f"candidate {chosen} was not open for slot {slot}")
        self._chosen.append(chosen)

    def _ended(self) -> None:
        """Note who is left over because a maximum is full."""
        layout, why_N = self._begin.layout, np.zeros(len(self._allowed_N), dtype=np.int64)
        for place_ in np.flatnonzero(~self._state.used_N).tolist():
            g = full(layout.problem, self._state.room_G, place_, len(layout.ends) - 1)
            why_N[place_] = FULL + g if g >= 0 else 0
        self._seen.append((why_N, np.zeros(len(layout.rule_Q), dtype=bool)))
