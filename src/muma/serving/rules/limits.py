"""Limits of one request as the search needs them: who counts for what, in which segment of the list.

Shape: N candidates, Q minimums, G groups with a maximum, F limit rules with maximums, Z segments, X
memberships.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from muma.errors import ConfigError
from muma.serving.rules.gather import dense, gather, tight
from muma.serving.rules.rule import Bounds
from muma.serving.rules.search import Problem, State

_FEW = 4096
MOST_MINIMUMS = 62  # bits of an int64


@dataclass(frozen=True)
class Limit:
    """One limit rule in one request.

    Attributes:
        rule: its id.
        order: its place in the set; minimums of later rules give way first.
        bounds: what it demands of this list.
        place_X, group_X: memberships of the candidates that it touches, int64.
    """

    rule: str
    order: int
    bounds: Bounds
    place_X: np.ndarray
    group_X: np.ndarray


@dataclass(frozen=True)
class Layout:
    """Limits over one list of `length` slots.

    Attributes:
        problem: for the search.
        low_Q: members each minimum asks for, int64.
        high_G: members each maximum takes, int64.
        rule_Q: rule of each minimum.
        rule_G: rule of each maximum.
        ends: slot behind each segment.
    """

    problem: Problem
    low_Q: np.ndarray
    high_G: np.ndarray
    rule_Q: tuple[str, ...]
    rule_G: tuple[str, ...]
    ends: tuple[int, ...]

    def segment(self, slot: int) -> int:
        """The segment a slot lies in."""
        return bisect_right(self.ends, slot)

    def start(self, free_Z: np.ndarray, used_N: np.ndarray) -> State:
        """A list in which nothing stands."""
        return State(used_N.copy(), free_Z.copy(), self.low_Q.copy(), self.high_G.copy())


def lay_out(limits: Sequence[Limit], n: int, length: int) -> Layout:
    """Put the limits of a request together.

    Args:
        limits: in the order of the set.
        n: candidates.
        length: slots of the list, at least 1.

    Raises:
        ConfigError: there are more minimums than the search can hold.
    """
    ends = sorted({min(limit.bounds.within, length) for limit in limits} | {length})
    serves_N = np.zeros(n, dtype=np.int64)
    low, high, rule_Q, rule_G, seg_Q, seg_G, family, seg_F = [], [], [], [], [], [], [], []
    places, groups = [], []
    for limit in limits:
        within = min(limit.bounds.within, length)
        seg = ends.index(within)
        code_X, made = dense(limit.group_X)
        if limit.bounds.low > 0:
            for g in range(made):
                serves_N[limit.place_X[code_X == g]] |= np.int64(1) << len(low)
                low.append(min(limit.bounds.low, within))
                rule_Q.append(limit.rule)
                seg_Q.append(seg)
                if len(low) > MOST_MINIMUMS:
                    raise ConfigError(
                        f"rule {limit.rule!r}: more than {MOST_MINIMUMS} minimums hold at once; "
                        "use fewer"
                    )
        if limit.bounds.high is None:
            continue
        keep_X, group_X, made = tight(code_X, made, limit.bounds.high)  # others are never full
        if not made:
            continue
        places.append(limit.place_X[keep_X])
        groups.append(group_X + len(high))
        high += [limit.bounds.high] * made
        rule_G += [limit.rule] * made
        seg_G += [seg] * made
        family += [len(seg_F)] * made
        seg_F.append(seg)
    problem = _problem(serves_N, places, groups, seg_Q, seg_G, family, seg_F)
    return Layout(problem, _ints(low), _ints(high), tuple(rule_Q), tuple(rule_G), tuple(ends))


def _problem(
    serves_N: np.ndarray,
    places: list[np.ndarray],
    groups: list[np.ndarray],
    seg_Q: list[int],
    seg_G: list[int],
    family: list[int],
    seg_F: list[int],
) -> Problem:
    place_X = np.concatenate(places) if places else np.empty(0, np.int64)
    group_X = np.concatenate(groups) if groups else np.empty(0, np.int64)
    bits_G = _bits(max(_FEW, len(seg_G)))
    first_N1, sorted_X, sig_N, early_N, late_N = gather(serves_N, place_X, group_X, bits_G)
    return Problem(
        serves_N=serves_N,
        first_N1=first_N1,
        group_X=sorted_X,
        sig_N=sig_N,
        seg_Q=_ints(seg_Q),
        seg_G=_ints(seg_G),
        family_G=_ints(family),
        seg_F=_ints(seg_F),
        early_N=early_N,
        late_N=late_N,
    )


@lru_cache(maxsize=8)
def _bits(n: int) -> np.ndarray:
    """The same 64 random bits for each group, always."""
    return np.random.PCG64(7).random_raw(n).view(np.int64)


def _ints(values: Sequence[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)
