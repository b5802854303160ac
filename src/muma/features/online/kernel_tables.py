"""A kind's plan as flat arrays: what the compiled kernels read."""

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
        reads: int64 [R, 5], ordered by state; read_first: int64 [S + 1].
        plain: int64 [R], place in a slot of a read that adds one word; -1 for the others.
        weights: int64 [64].
    """

    states: np.ndarray
    parts: np.ndarray
    signs: np.ndarray
    part_word: np.ndarray
    part_mask: np.ndarray
    state_mask: np.ndarray
    kind_mask: np.ndarray
    reads: np.ndarray
    read_first: np.ndarray
    plain: np.ndarray
    weights: np.ndarray


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
    order = np.argsort(kind.read_table[:, 0], kind="stable")
    reads = np.ascontiguousarray(kind.read_table[order])
    first = np.searchsorted(reads[:, 0], np.arange(len(kind.states) + 1)).astype(np.int64)
    part = kind.part_table[reads[:, 1]].reshape(-1, 6)
    single = (part[:, 0] == ADD) & (reads[:, 4] == 1)
    plain = np.where(single, part[:, 4], -1).astype(np.int64)
    return KernelTables(
        kind.state_table,
        kind.part_table,
        kind.sign_table,
        write // 64,
        part_mask,
        state_mask,
        np.bitwise_or.reduce(state_mask, axis=0, initial=0).astype(np.uint64),
        reads,
        first,
        plain,
        WEIGHTS,
    )
