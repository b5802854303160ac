"""Compiled step from slot to slot: who may take the next one, and the plan after somebody took it.

Shape: as in `search`.
"""

from __future__ import annotations

import numba
import numpy as np

from muma.serving.rules.search import (
    FOUND,
    FULL,
    UNMET,
    Problem,
    State,
    bits,
    full,
    place,
    solve,
)


@numba.njit(cache=True, nogil=True)
def _in(p: Problem, c: int, g: int) -> bool:
    found = False
    for x in range(p.first_N1[c], p.first_N1[c + 1]):
        found = found or p.group_X[x] == g
    return found


@numba.njit(cache=True, nogil=True)
def spare(p: Problem, s: State, plan_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the plan leaves over: members above each minimum [Q], room under each maximum [G]."""
    over_Q, room_G = -s.need_Q, s.room_G.copy()
    for c in range(len(plan_N)):
        z = plan_N[c]
        if z < 0:
            continue
        for q in range(len(over_Q)):
            if z <= p.seg_Q[q] and (p.serves_N[c] >> q) & 1:
                over_Q[q] += 1
        for x in range(p.first_N1[c], p.first_N1[c + 1]):
            if z <= p.seg_G[p.group_X[x]]:
                room_G[p.group_X[x]] -= 1
    return over_Q, room_G


@numba.njit(cache=True, nogil=True)
def _exchange(
    p: Problem,
    over_Q: np.ndarray,
    room_G: np.ndarray,
    plan_N: np.ndarray,
    member_M: np.ndarray,
    c: int,
    z: int,
) -> int:
    """A candidate of the plan's segment `z` (`member_M`) that `c` may change places with; or -1.

    The plan's limits hold after the exchange: `c` moves from its segment (or from outside) to `z`, the
    other takes its place.
    """
    other_z = plan_N[c] if plan_N[c] >= 0 else np.iinfo(np.int64).max
    for m in member_M:
        if p.sig_N[m] == p.sig_N[c]:
            return m
        good = True
        for x in range(p.first_N1[c], p.first_N1[c + 1]):
            g = p.group_X[x]
            if z <= p.seg_G[g] < other_z and room_G[g] <= 0 and not _in(p, m, g):
                good = False
                break
        if not good:
            continue
        for q in range(len(over_Q)):
            if (
                z <= p.seg_Q[q] < other_z
                and (p.serves_N[m] >> q) & 1
                and not (p.serves_N[c] >> q) & 1
                and over_Q[q] <= 0
            ):
                good = False
                break
        if good:
            return m
    return -1


@numba.njit(cache=True, nogil=True)
def _search_with(
    p: Problem, s: State, plan_N: np.ndarray, c: int, z: int, budget: int
) -> tuple[int, int]:
    """A plan for the slots after `c` took one of segment `z`, written to `plan_N`; `s` is unchanged."""
    place(p, s, c, z, 1)
    status, nodes, _ = solve(p, s, plan_N, budget)
    place(p, s, c, z, -1)
    return status, nodes


@numba.njit(cache=True, nogil=True)
def _unmet(p: Problem, s: State) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Minimums up to each segment: members wanted, which minimums, members one candidate can be, slots."""
    n_z = len(s.free_Z)
    wanted_Z, mask_Z = np.zeros(n_z, np.int64), np.zeros(n_z, np.int64)
    best_Z, free_Z = np.zeros(n_z, np.int64), np.cumsum(s.free_Z)
    for z in range(n_z):
        for q in range(len(p.seg_Q)):
            if s.need_Q[q] > 0 and p.seg_Q[q] <= z:
                wanted_Z[z] += s.need_Q[q]
                mask_Z[z] |= np.int64(1) << q
        if wanted_Z[z]:
            for c in range(len(p.serves_N)):
                if not s.used_N[c]:
                    best_Z[z] = max(best_Z[z], bits(p.serves_N[c] & mask_Z[z]))
    return wanted_Z, mask_Z, best_Z, free_Z


@numba.njit(cache=True, nogil=True)
def may_take(  # noqa: C901, PLR0912 - compiled
    p: Problem, s: State, plan_N: np.ndarray, z: int, budget: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Which candidates may take the next slot, in segment `z`.

    Returns:
        Open or not, boolean [N]; why not, int64 [N] (0 where open or taken); nodes that were searched.
    """
    n = len(plan_N)
    open_N, why_N = np.zeros(n, np.bool_), np.zeros(n, np.int64)
    over_Q, room_G = spare(p, s, plan_N)
    known_S = np.zeros(p.sig_N.max() + 1 if n else 0, np.int64)  # 1 may, 2 may not
    found_N, other_N, another = np.empty(n, np.int64), plan_N.copy(), False
    other_over_Q, other_room_G = over_Q, room_G
    spent = 0
    wanted_Z, mask_Z, best_Z, free_Z = _unmet(p, s)
    must = np.int64(0)  # minimums that need every slot they have left
    for q in range(len(p.seg_Q)):
        if s.need_Q[q] > 0 and p.seg_Q[q] >= z and s.need_Q[q] >= free_Z[p.seg_Q[q]]:
            must |= np.int64(1) << q
    member_M = other_M = np.flatnonzero(plan_N == z)
    for m in member_M:
        known_S[p.sig_N[m]] = 1
    for c in range(n):
        if s.used_N[c]:
            continue
        g = full(p, s.room_G, c, z)
        if g >= 0:
            why_N[c] = FULL + g
            continue
        sig = p.sig_N[c]
        if known_S[sig] == 0:
            known_S[sig] = 2
            hopeless = p.serves_N[c] & must != must
            for y in range(z, len(free_Z)):
                left = wanted_Z[y] - bits(p.serves_N[c] & mask_Z[y])
                hopeless = hopeless or left > best_Z[y] * (free_Z[y] - 1)
            if hopeless:
                pass
            elif _exchange(p, over_Q, room_G, plan_N, member_M, c, z) >= 0 or (
                another and _exchange(p, other_over_Q, other_room_G, other_N, other_M, c, z) >= 0
            ):
                known_S[sig] = 1
            elif spent < budget:
                status, nodes = _search_with(p, s, found_N, c, z, budget - spent)
                spent += nodes
                if status == FOUND:  # with c in place it is another plan, which opens more at once
                    another = True
                    other_N[:] = found_N
                    other_N[c] = z
                    other_over_Q, other_room_G = spare(p, s, other_N)
                    other_M = np.flatnonzero(other_N == z)
                    for m in other_M:
                        known_S[p.sig_N[m]] = 1
    for c in range(n):
        if not s.used_N[c] and why_N[c] == 0:
            open_N[c] = known_S[p.sig_N[c]] == 1
            why_N[c] = 0 if open_N[c] else UNMET
    return open_N, why_N, spent


@numba.njit(cache=True, nogil=True)
def take(p: Problem, s: State, plan_N: np.ndarray, c: int, z: int, budget: int) -> bool:
    """Let `c` take a slot of segment `z`; false, with nothing changed, when no plan was found for it."""
    if s.used_N[c] or full(p, s.room_G, c, z) >= 0:
        return False
    if plan_N[c] != z:
        over_Q, room_G = spare(p, s, plan_N)
        m = _exchange(p, over_Q, room_G, plan_N, np.flatnonzero(plan_N == z), c, z)
        if m >= 0:
            plan_N[m] = plan_N[c]
        elif _search_with(p, s, plan_N, c, z, budget)[0] != FOUND:
            return False
    plan_N[c] = -1
    place(p, s, c, z, 1)
    return True
