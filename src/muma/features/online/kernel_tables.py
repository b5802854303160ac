"""A kind's plan as flat arrays: what the compiled kernels read.

Reading has arrays of its own, few of them: what a kernel is handed costs at every call.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from muma.features.kind_plan import ADD, GAP, SEQUENCE, KindPlan
from muma.features.window import WEIGHTS


class KernelTables(NamedTuple):
    """Arrays of one kind of key.

    Shape:
        states: int64 [S, 9] and parts: int64 [P, 6], see `KindPlan`; signs: int64 [P].
        part_mask: uint64 [P], bit inside word `part_word` (int64 [P]) of an event's bits.
        state_mask: uint64 [S, W], bits of which one must be set for an event to enter a state.
        kind_mask: uint64 [W], bits of which one must be set for an event to touch a key.
        weights: int64 [64].
    """

    states: np.ndarray
    parts: np.ndarray
    signs: np.ndarray
    part_word: np.ndarray
    part_mask: np.ndarray
    state_mask: np.ndarray
    kind_mask: np.ndarray
    weights: np.ndarray


class ReadTables(NamedTuple):
    """What is read of one kind of key.

    Shape:
        states: int64 [S, 9], of the states that anything reads: kind, span, slots, offset, stride, horizon,
            first read, end read, longest argument.
        reads: int64 [R, 6], ordered by state: argument (panes, or closed session), place among the merged
            words, words, op, place in a slot, and the same place if it only adds one word, -1 otherwise.
    """

    states: np.ndarray
    reads: np.ndarray


def kernel_tables(kind: KindPlan, n_writes: int) -> KernelTables:
    """Flatten a kind's plan.

    Args:
        kind: the plan of one kind of key.
        n_writes: bits of an event.
    """
    words = max(1, -(-n_writes // 64))
    write = kind.part_table[:, 1]
    one = np.ones(len(write), dtype=np.uint64)
    part_mask = one << (write % 64).astype(np.uint64)
    state_mask = np.zeros((len(kind.states), words), dtype=np.uint64)
    for place, state in enumerate(kind.states):
        if state.kind in (GAP, SEQUENCE):
            state_mask[place, state.member // 64] |= np.uint64(1 << (state.member % 64))
            continue
        for part in range(state.first_part, state.first_part + len(state.partials)):
            state_mask[place, write[part] // 64] |= part_mask[part]
    return KernelTables(
        kind.state_table,
        kind.part_table,
        kind.sign_table,
        write // 64,
        part_mask,
        state_mask,
        np.bitwise_or.reduce(state_mask, axis=0, initial=0).astype(np.uint64),
        WEIGHTS,
    )


def read_tables(kind: KindPlan) -> ReadTables:
    """Flatten what is read of a kind of key."""
    table_R = kind.read_table[np.argsort(kind.read_table[:, 0], kind="stable")]
    part_R = kind.part_table[table_R[:, 1]].reshape(-1, 6)
    op_R, words_R, place_R = part_R[:, 0], table_R[:, 4], part_R[:, 4]
    plain_R = np.where((op_R == ADD) & (words_R == 1), place_R, -1)
    reads = np.stack([table_R[:, 2], table_R[:, 3], words_R, op_R, place_R, plain_R], axis=1)
    states = []
    for place in np.unique(table_R[:, 0]).tolist():
        mine_r = np.flatnonzero(table_R[:, 0] == place)
        sort, span, slots, offset, stride, _, _, horizon, _ = kind.state_table[place].tolist()
        longest = int(table_R[mine_r, 2].max())
        ends = int(mine_r[0]), int(mine_r[-1]) + 1
        states.append([sort, span, slots, offset, stride, horizon, *ends, longest])
    return ReadTables(
        np.array(states, dtype=np.int64).reshape(-1, 9), np.ascontiguousarray(reads, dtype=np.int64)
    )
