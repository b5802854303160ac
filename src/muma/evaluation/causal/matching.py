"""Nearest-neighbour matching on a score (paper 2.4; Rosenbaum and Rubin, Biometrika 1983).

With replacement every unit takes the `matches` units of the other group whose scores are nearest, and all
that are as near as the last of them (Abadie and Imbens, Econometrica 2006): the answer does not hang on the order of
the rows. Without replacement, treated units choose in turn from the highest score down, one control a
round; the nearest still free one wins, at equal distance the lower score, at equal score the lower row.

A score has one dimension, so neighbours are found in a sorted list: O(N log N), no tree.

Shape: N units, M sets, C units that can be matched with, U different scores among them.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.special import logit

from muma.errors import ConfigError, DataError
from muma.evaluation.causal.matched_sets import MatchedSets

Scale = Literal["logit", "probability"]
_TIE = 1e-10  # scores closer than this are equal


def on_scale(score_N: np.ndarray, scale: Scale) -> np.ndarray:
    """Propensities on the scale in which distances are measured; log-odds spread the ends."""
    return logit(score_N) if scale == "logit" else np.asarray(score_N, np.float64)


def match(
    score_N: np.ndarray,
    treated_N: np.ndarray,
    *,
    matches: int = 1,
    caliper: float | None = None,
    replacement: bool = True,
) -> MatchedSets:
    """Match the treated units with untreated ones.

    Args:
        score_N: where each unit stands, on the scale that distances are measured in; finite.
        treated_N: the units that seek partners; the others are partners. Hand in `~treated_N` for the
            other direction.
        matches: partners for each unit, at least 1; with replacement more where distances tie.
        caliper: largest allowed distance, in the score's unit; None for any.
        replacement: whether a partner may serve several units.

    Returns:
        Sets in the order of the rows. A unit with fewer partners than asked inside the caliper (or left)
        keeps those it has; one without any is `unmatched`.

    Raises:
        ConfigError: `matches` or `caliper` is out of range.
        DataError: a group is empty or a score is not finite.

    Example:
        >>> sets = match(np.array([0.5, 0.1, 0.4, 0.9]), np.array([1, 0, 0, 0], bool))
        >>> sets.members(0).tolist()
        [2]
    """
    if matches < 1 or (caliper is not None and not caliper > 0):
        raise ConfigError(f"matches {matches} and caliper {caliper} must be at least 1 and above 0")
    score_N, treated_N = np.asarray(score_N, np.float64), np.asarray(treated_N, bool)
    if not np.isfinite(score_N).all() or treated_N.all() or not treated_N.any():
        raise DataError("matching needs finite scores and units in both groups")
    seekers, partners = np.flatnonzero(treated_N), np.flatnonzero(~treated_N)
    reach = np.inf if caliper is None else float(caliper)
    find = with_ties if replacement else _without_replacement
    return find(score_N, seekers, partners, matches, reach)


def with_ties(
    score_N: np.ndarray, seekers: np.ndarray, partners: np.ndarray, matches: int, reach: float
) -> MatchedSets:
    """Sets of the nearest partners and of all that are as near as the last of them.

    Args:
        score_N: where each unit stands, finite.
        seekers: rows that seek partners.
        partners: rows that can be found; not empty.
        matches: partners of each, at least 1.
        reach: largest distance; inf for any.
    """
    order_C = partners[np.argsort(score_N[partners], kind="stable")]
    sorted_C, own_M = score_N[order_C], score_N[seekers]
    place_M = np.searchsorted(sorted_C, own_M)
    window = np.arange(-matches, matches)
    index_MW = place_M[:, None] + window
    inside_MW = (index_MW >= 0) & (index_MW < len(sorted_C))
    near_MW = sorted_C[np.clip(index_MW, 0, len(sorted_C) - 1)]
    distance_MW = np.where(inside_MW, np.abs(near_MW - own_M[:, None]), np.inf)
    distance_MW.partition(min(matches, len(sorted_C)) - 1, axis=1)
    furthest_M = np.minimum(distance_MW[:, min(matches, len(sorted_C)) - 1], reach) + _TIE
    start_M = np.searchsorted(sorted_C, own_M - furthest_M, side="left")
    stop_M = np.searchsorted(sorted_C, own_M + furthest_M, side="right")
    found_M = stop_M > start_M
    return MatchedSets(
        seekers[found_M], start_M[found_M], stop_M[found_M], order_C, seekers[~found_M]
    )


def _without_replacement(
    score_N: np.ndarray, seekers: np.ndarray, partners: np.ndarray, matches: int, reach: float
) -> MatchedSets:
    pool = _Pool(score_N, partners)
    turn = seekers[np.argsort(-score_N[seekers], kind="stable")]
    taken: dict[int, list[int]] = {int(unit): [] for unit in seekers}
    for _ in range(matches):
        for unit in turn.tolist():
            if (row := pool.take(float(score_N[unit]), reach)) is not None:
                taken[unit].append(row)
    found = [unit for unit in seekers.tolist() if taken[unit]]
    stop_M = np.cumsum([len(taken[unit]) for unit in found], dtype=np.int64)
    size_M = np.diff(stop_M, prepend=0)
    order_C = np.array([row for unit in found for row in taken[unit]], np.int64)
    unmatched = np.array([unit for unit in seekers.tolist() if not taken[unit]], np.int64)
    return MatchedSets(np.array(found, np.int64), stop_M - size_M, stop_M, order_C, unmatched)


class _Pool:
    """Free partners by score: nearest first, each given out once; finds skip what is used up."""

    def __init__(self, score_N: np.ndarray, partners: np.ndarray) -> None:
        order = partners[np.argsort(score_N[partners], kind="stable")]
        self._score_U, first = np.unique(score_N[order], return_index=True)
        self._rows = [rows.tolist()[::-1] for rows in np.split(order, first[1:])]
        size = len(self._score_U)
        self._below = list(range(size + 1))  # shifted by one: 0 means none
        self._above = list(range(size + 1))  # `size` means none

    def take(self, at: float, reach: float) -> int | None:
        """The row of the nearest free partner within reach, now used."""
        place = int(np.searchsorted(self._score_U, at))
        low = _root(self._below, place) - 1
        high = _root(self._above, place)
        left = at - self._score_U[low] if low >= 0 else np.inf
        right = self._score_U[high] - at if high < len(self._score_U) else np.inf
        if min(left, right) > reach + _TIE or not np.isfinite(min(left, right)):
            return None
        chosen = low if left <= right + _TIE else high
        row = self._rows[chosen].pop()
        if not self._rows[chosen]:
            self._below[chosen + 1] = chosen
            self._above[chosen] = chosen + 1
        return row


def _root(parent: list[int], place: int) -> int:
    """Follow pointers to the first free place, shortening the way for the next."""
    root = place
    while parent[root] != root:
        root = parent[root]
    while parent[place] != root:
        parent[place], place = root, parent[place]
    return root
