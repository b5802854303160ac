"""Every merged word of one kind of key, for the rows of a layout: one job a partial."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from muma.features.kind_plan import (
    ADD,
    ALL_TIME,
    BEST,
    BUCKET,
    DECAY,
    GAP,
    HLL,
    SLIDING,
    KindPlan,
    Read,
    State,
)
from muma.features.offline import ranges as windows
from muma.features.offline.best import best
from muma.features.offline.buckets import buckets
from muma.features.offline.decayed import decayed
from muma.features.offline.history import Events
from muma.features.offline.layout import Layout, Mask
from muma.features.offline.ranges import Ranges
from muma.features.offline.registers import registers
from muma.features.offline.sums import sums
from muma.features.plan import Plan

Job = Callable[[], None]
_Sum = tuple[int, int, int]  # write, column, member


@dataclass
class Merge:
    """What the jobs of one kind share.

    Shape:
        bits_WM: uint64 write bits of the layout's events. merged_BM: int64, the kind's words of the
        layout's rows, zero where nothing is written.
    """

    plan: Plan
    kind: KindPlan
    events: Events
    layout: Layout
    bits_WM: np.ndarray
    merged_BM: np.ndarray

    def jobs(self) -> Iterator[Job]:
        """Independent pieces of work; together they fill the kind's words.

        Sums that differ only in their window share a job, since they share the running totals.
        """
        found = self._windows()
        added: dict[_Sum, list[tuple[Ranges, int]]] = {}
        for read, row in zip(self.kind.reads, self.kind.read_table.tolist(), strict=True):
            state, part = self.kind.states[read.state], row[1]
            op, write, column = self.kind.part_table[part, :3].tolist()
            if state.kind == DECAY:
                yield self._decayed(read, state, op, write, column)
                continue
            member = state.member if state.kind == GAP else write
            where = found[_window(read, state)]
            if op == ADD:
                shared = added.setdefault((write, column, member), [])
                shared.append((where, read.place))
            elif op == BEST:
                yield self._best(read, part, self.mask(write, member), where)
            else:
                yield self._wide(read, op, self.mask(write, member), column, where)
        for (write, column, member), reads in added.items():
            yield self._sums(self.mask(write, member), column, reads)

    def mask(self, write: int, member: int) -> Mask:
        """Events that have both writes."""
        return Mask(
            self.bits_WM[write // 64],
            np.uint64(1 << write % 64),
            self.bits_WM[member // 64],
            np.uint64(1 << member % 64),
        )

    def _windows(self) -> dict[tuple[int, ...], Ranges]:
        found: dict[tuple[int, ...], Ranges] = {}
        for read in self.kind.reads:
            state = self.kind.states[read.state]
            name = _window(read, state)
            if state.kind == DECAY or name in found:
                continue
            if state.kind == SLIDING:
                length = read.argument * state.span
                found[name] = windows.sliding(self.layout, length, state.span)
            elif state.kind == ALL_TIME:
                found[name] = windows.all_time(self.layout, state.horizon)
            else:
                members = self.mask(state.member, state.member)
                both = windows.sessions(self.layout, members, state.span, state.horizon)
                found[GAP, read.state, 0], found[GAP, read.state, 1] = both
        return found

    def _ones(self, column: int) -> bool:
        return self.plan.event_columns[column].measure.column == "one"

    def _sums(self, mask: Mask, column: int, reads: list[tuple[Ranges, int]]) -> Job:
        def job() -> None:
            start_KR = np.stack([where.start_R for where, _ in reads])
            end_KR = np.stack([where.end_R for where, _ in reads])
            place_K = np.array([place for _, place in reads], dtype=np.int64)
            values_N = self.events.columns_CN[column]
            sums(
                self.layout, mask, self._ones(column), values_N, start_KR, end_KR, place_K,
                self.merged_BM,
            )  # fmt: skip

        return job

    def _best(self, read: Read, part: int, mask: Mask, where: Ranges) -> Job:
        column, bound = self.kind.part_table[part, [2, 5]].tolist()
        sign, place = int(self.kind.sign_table[part]), read.place
        values_N = self.events.columns_CN[column]
        return lambda: best(self.layout, mask, values_N, sign, bound, where, self.merged_BM, place)

    def _wide(self, read: Read, op: int, mask: Mask, column: int, where: Ranges) -> Job:
        kernel = {HLL: registers, BUCKET: buckets}[op]
        values_N, place = self.events.columns_CN[column], read.place
        return lambda: kernel(self.layout, mask, values_N, read.words, where, self.merged_BM, place)

    def _decayed(self, read: Read, state: State, op: int, write: int, column: int) -> Job:
        mask, ones, by_id = self.mask(write, write), self._ones(column), op == BUCKET
        values_N, place = self.events.columns_CN[column], read.place
        return lambda: decayed(
            self.layout, mask, ones, by_id, values_N, read.words, state.span, self.merged_BM, place
        )


def _window(read: Read, state: State) -> tuple[int, ...]:
    """What tells the windows of a kind apart."""
    if state.kind == SLIDING:
        return SLIDING, state.span, read.argument
    if state.kind == ALL_TIME:
        return ALL_TIME, state.horizon, 0
    return state.kind, read.state, read.argument
