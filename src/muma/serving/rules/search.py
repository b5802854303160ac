"""Compiled search: can the slots that are left still be filled so that every limit holds?

Slots lie in segments, cut where a limit's window ends, so that two slots of a segment are alike. A
candidate placed in segment z counts for every minimum and maximum whose window reaches z. A `plan` is a
placing of candidates in all free slots that meets all minimums and breaks no maximum. As long as there is
one, a candidate may take the next slot when some plan holds it there: mostly the plan at hand with one
exchange, else one that is searched for.

The search is exact: it places the tightest minimum's candidates first, latest segment first, and a kind
of candidate (`sig_N`) that failed in a segment stays out of it in the branches that follow. It stops
after a number of nodes and then says so.

Shape: N candidates, Q minimums, G groups with a maximum, F families of groups (one a rule), Z segments,
X memberships.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

FOUND, NONE, GAVE_UP = 1, 0, -1
FULL, UNMET = 1, -1  # why a candidate is closed: FULL + g for a full group, UNMET for minimums


class Problem(NamedTuple):
    """What does not change while a list is filled; int64 arrays.

    Attributes:
        serves_N: bit q tells whether the candidate counts for minimum q.
        first_N1: place in `group_X` where a candidate's groups begin, [N + 1].
        group_X: groups of the candidates, one candidate's after the other.
        sig_N: equal for candidates that count for the same.
        seg_Q: last segment of a minimum's window.
        seg_G: last segment of a maximum's window.
        family_G: the rule that a group belongs to.
        seg_F: last segment of that rule's window.
        early_N: candidates in the order in which minimums try them.
        late_N: candidates in the order in which other slots try them.
    """

    serves_N: np.ndarray
    first_N1: np.ndarray
    group_X: np.ndarray
    sig_N: np.ndarray
    seg_Q: np.ndarray
    seg_G: np.ndarray
    family_G: np.ndarray
    seg_F: np.ndarray
    early_N: np.ndarray
    late_N: np.ndarray


class State(NamedTuple):
    """Where a list stands; changed in place.

    Attributes:
        used_N: candidates that are taken, boolean.
        free_Z: slots left in each segment.
        need_Q: members that a minimum still needs; 0 or less when it is met.
        room_G: members that a maximum still takes.
    """

    used_N: np.ndarray
    free_Z: np.ndarray
    need_Q: np.ndarray
    room_G: np.ndarray


@numba.njit(cache=True, nogil=True)
def place(p: Problem, s: State, c: int, z: int, by: int) -> None:
    """Place candidate `c` in segment `z` (`by` 1), or take it out again (-1)."""
    s.used_N[c] = by > 0
    s.free_Z[z] -= by
    for q in range(len(p.seg_Q)):
        if z <= p.seg_Q[q] and (p.serves_N[c] >> q) & 1:
            s.need_Q[q] -= by
    for x in range(p.first_N1[c], p.first_N1[c + 1]):
        if z <= p.seg_G[p.group_X[x]]:
            s.room_G[p.group_X[x]] -= by


@numba.njit(cache=True, nogil=True)
def full(p: Problem, room_G: np.ndarray, c: int, z: int) -> int:
    """The first group that has no room for `c` in segment `z`; -1 if all have."""
    for x in range(p.first_N1[c], p.first_N1[c + 1]):
        g = p.group_X[x]
        if z <= p.seg_G[g] and room_G[g] <= 0:
            return g
    return -1


@numba.njit(cache=True, nogil=True)
def bits(mask: int) -> int:
    """How many bits are set."""
    count = 0
    while mask:
        mask &= mask - 1
        count += 1
    return count


@numba.njit(cache=True, nogil=True)
def _most(p: Problem, s: State, low_N: np.ndarray, q: int, seg: int) -> int:
    """No more candidates than this can be placed up to segment `seg` for minimum `q` (-1: for none)."""
    total = 0
    count_G = np.zeros(len(p.seg_G), np.int64)
    grouped_F = np.zeros(len(p.seg_F), np.int64)
    last_F = np.full(len(p.seg_F), -1, np.int64)
    for c in range(len(low_N)):
        if low_N[c] > seg or (q >= 0 and not (p.serves_N[c] >> q) & 1):
            continue
        total += 1
        for x in range(p.first_N1[c], p.first_N1[c + 1]):
            g = p.group_X[x]
            count_G[g] += 1
            f = p.family_G[g]
            if last_F[f] != c:
                last_F[f] = c
                grouped_F[f] += 1
    bound_F = total - grouped_F
    for g in range(len(p.seg_G)):
        bound_F[p.family_G[g]] += min(count_G[g], max(s.room_G[g], 0))
    most = total
    for f in range(len(p.seg_F)):
        if p.seg_F[f] >= seg:
            most = min(most, bound_F[f])
    return most


@numba.njit(cache=True, nogil=True)
def _demand(p: Problem, s: State, ban_SZ: np.ndarray) -> int:  # noqa: C901, PLR0912 - compiled
    """The minimum to serve next, -1 for any free slot, -2 when no plan can exist."""
    n_z = len(s.free_Z)
    low_N = np.full(len(p.serves_N), n_z, np.int64)  # earliest segment a candidate can be placed in
    for c in range(len(p.serves_N)):
        if s.used_N[c]:
            continue
        for z in range(n_z):
            if s.free_Z[z] > 0 and not ban_SZ[p.sig_N[c], z] and full(p, s.room_G, c, z) < 0:
                low_N[c] = z
                break
    if _most(p, s, low_N, -1, n_z - 1) < s.free_Z.sum():
        return -2
    chosen, tight = -1, 0
    unmet = np.int64(0)
    for q in range(len(p.seg_Q)):
        if s.need_Q[q] <= 0:
            continue
        unmet |= np.int64(1) << q
        if s.need_Q[q] > s.free_Z[: p.seg_Q[q] + 1].sum():
            return -2
        slack = _most(p, s, low_N, q, p.seg_Q[q]) - s.need_Q[q]
        if slack < 0:
            return -2
        if chosen < 0 or slack < tight:
            chosen, tight = q, slack
    if unmet == 0:
        return -1
    for z in range(n_z):  # one candidate serves so many minimums at best
        wanted, mask = 0, np.int64(0)
        for q in range(len(p.seg_Q)):
            if s.need_Q[q] > 0 and p.seg_Q[q] <= z:
                wanted += s.need_Q[q]
                mask |= np.int64(1) << q
        if wanted == 0:
            continue
        best = 0
        for c in range(len(low_N)):
            if low_N[c] <= z:
                best = max(best, bits(p.serves_N[c] & mask))
        if wanted > best * s.free_Z[: z + 1].sum():
            return -2
    return chosen


@numba.njit(cache=True, nogil=True)
def solve(  # noqa: C901, PLR0912, PLR0915 - compiled: one loop is quicker than calls
    p: Problem, s: State, plan_N: np.ndarray, budget: int
) -> tuple[int, int, int]:
    """Look for a plan; `s` comes back as it was.

    Args:
        p: the problem.
        s: where the list stands.
        plan_N: gets the segment of each candidate in the plan, -1 for the others; left alone without one.
        budget: nodes after which the search stops.

    Returns:
        FOUND, NONE or GAVE_UP; nodes visited; most candidates that stood at once.
    """
    n, n_z = len(p.serves_N), len(s.free_Z)
    depth_end = s.free_Z.sum() + 1
    kind_D = np.zeros(depth_end, np.int64)
    low_D, seg_D, next_D = np.zeros_like(kind_D), np.zeros_like(kind_D), np.zeros_like(kind_D)
    item_D = np.zeros_like(kind_D)
    ban_SZ = np.zeros((p.sig_N.max() + 1 if n else 0, n_z), np.int64)
    d, nodes, deepest = 0, 0, 0
    fresh, status = True, NONE
    while True:
        alive = True
        if fresh:
            nodes += 1
            deepest = max(deepest, d)
            if nodes > budget:
                status = GAVE_UP
                break
            if s.free_Z.sum() == 0:
                alive = True
                for q in range(len(p.seg_Q)):
                    alive = alive and s.need_Q[q] <= 0
                if alive:
                    status = FOUND
                    break
            else:
                kind = _demand(p, s, ban_SZ)
                alive = kind > -2
                if alive:
                    kind_D[d], next_D[d] = kind, 0
                    if kind >= 0:
                        low_D[d], seg_D[d] = 0, p.seg_Q[kind]
                    else:
                        z = 0
                        while s.free_Z[z] == 0:
                            z += 1
                        low_D[d], seg_D[d] = z, z
        found, c = False, 0
        if alive:
            kind, z, i = kind_D[d], seg_D[d], next_D[d]
            while z >= low_D[d] and not found:
                if s.free_Z[z] > 0:
                    while i < n and not found:
                        c = p.early_N[i] if kind >= 0 else p.late_N[i]
                        i += 1
                        found = (
                            not s.used_N[c]
                            and (kind < 0 or (p.serves_N[c] >> kind) & 1 == 1)
                            and ban_SZ[p.sig_N[c], z] == 0
                            and full(p, s.room_G, c, z) < 0
                        )
                if not found:
                    z, i = z - 1, 0
            seg_D[d], next_D[d] = z, i
            if found:
                place(p, s, c, z, 1)
                item_D[d] = c
                d += 1
                fresh = True
        if not found:
            for a in range(ban_SZ.shape[0]):
                for b in range(n_z):
                    if ban_SZ[a, b] == d + 1:
                        ban_SZ[a, b] = 0
            d -= 1
            if d < 0:
                d = 0
                break
            place(p, s, item_D[d], seg_D[d], -1)
            ban_SZ[p.sig_N[item_D[d]], seg_D[d]] = d + 1
            fresh = False
    if status == FOUND:
        plan_N[:] = -1
    for e in range(d - 1, -1, -1):
        if status == FOUND:
            plan_N[item_D[e]] = seg_D[e]
        place(p, s, item_D[e], seg_D[e], -1)
    return status, nodes, deepest
