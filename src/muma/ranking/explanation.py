"""Why an answer has its score, why A stands above B, and what would change it.

    score(x) = phi_0 + sum_i phi_i(x)                            (local accuracy of eq. 21)
    score(a) - score(b) = sum_i (phi_i(a) - phi_i(b))            (the base cancels)

These explain a *score*: how the model came to it, not what caused a user's behaviour. An order is a
matter of differences between scores, so only `why_above` explains an order; a feature that lifts
every candidate alike has a large part in each score and none in any difference.

Shape: N candidates, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from muma.errors import ConfigError, DataError
from muma.ranking.groups import GroupsConfig, group_columns, group_of
from muma.ranking.ranker import Slate

TOLERANCE = 1e-4
"""Relative; libraries that add up trees in float32 stay below it by far, a wrong model does not."""


@dataclass(frozen=True)
class Part:
    """One feature's part of a score, in log-odds."""

    name: str
    group: str
    value: float
    contribution: float


@dataclass(frozen=True)
class Explanation:
    """A score as a sum.

    Attributes:
        place: place in the slate, from 0.
        item: dense item index.
        score: the score that ordered it.
        base: what the model says before it looks at any feature.
        parts: every feature, the largest in absolute value first.
    """

    place: int
    item: int
    score: float
    base: float
    parts: tuple[Part, ...]

    @property
    def groups(self) -> dict[str, float]:
        """Group -> sum of its parts, the largest in absolute value first."""
        return _by_group((part.group, part.contribution) for part in self.parts)

    @property
    def total(self) -> float:
        """Base and parts added up: the score, but for rounding."""
        return self.base + sum(part.contribution for part in self.parts)


@dataclass(frozen=True)
class DifferencePart:
    """What one feature gives `a` over `b`, in log-odds."""

    name: str
    group: str
    value_a: float
    value_b: float
    contribution: float


@dataclass(frozen=True)
class Difference:
    """A difference of two scores as a sum.

    Attributes:
        a, b: places in the slate, from 0.
        gap: score of `a` minus score of `b`.
        parts: every feature, the largest in absolute value first; they sum to `gap`.
    """

    a: int
    b: int
    gap: float
    parts: tuple[DifferencePart, ...]

    @property
    def groups(self) -> dict[str, float]:
        """Group -> sum of its parts, the largest in absolute value first."""
        return _by_group((part.group, part.contribution) for part in self.parts)

    @property
    def total(self) -> float:
        """The parts added up: the gap, but for rounding."""
        return sum(part.contribution for part in self.parts)


P = TypeVar("P", Part, DifferencePart)


@dataclass(frozen=True)
class WhatIf:
    """A candidate before and after its features were changed; ranks count from 1."""

    changes: Mapping[str, float]
    score_before: float
    score_after: float
    rank_before: int
    rank_after: int


def explain(slate: Slate, place: int, *, groups: GroupsConfig | None = None) -> Explanation:
    """Take the score at one place apart.

    Args:
        slate: candidates in order.
        place: which one, from 0.
        groups: own rules for groups.

    Raises:
        ConfigError: there is no such place.
        DataError: the attributions do not sum to the score; they are of another model.
    """
    (phi_F,) = _attributions(slate, place)
    value_F = slate.value_NF[place]
    parts = [
        Part(name, group_of(name, groups), float(value), float(phi))
        for name, value, phi in zip(slate.columns, value_F, phi_F[:-1], strict=True)
    ]
    return Explanation(
        place, int(slate.item_N[place]), float(slate.score_N[place]), float(phi_F[-1]), _ranked(parts)
    )  # fmt: skip


def why_above(slate: Slate, a: int, b: int, *, groups: GroupsConfig | None = None) -> Difference:
    """Take the difference of two scores apart: what lifts the answer at `a` above the one at `b`.

    Raises:
        ConfigError: there is no such place.
        DataError: the attributions do not sum to the scores; they are of another model.
    """
    phi_aF, phi_bF = _attributions(slate, a, b)
    parts = [
        DifferencePart(
            name, group_of(name, groups), float(slate.value_NF[a, f]), float(slate.value_NF[b, f]),
            float(phi_aF[f] - phi_bF[f]),
        )
        for f, name in enumerate(slate.columns)
    ]  # fmt: skip
    return Difference(a, b, float(slate.score_N[a] - slate.score_N[b]), _ranked(parts))


def without(
    columns: tuple[str, ...],
    group: str,
    *,
    reference: Mapping[str, float] | None = None,
    groups: GroupsConfig | None = None,
) -> dict[str, float]:
    """Changes that take a whole group away, for `what_if`.

    Args:
        columns: names of the features.
        group: which group.
        reference: column -> value that stands for "nothing known", such as the training median;
            NaN, a missing value, for those that are not named.
        groups: own rules for groups.

    Raises:
        ConfigError: no column is of this group.
    """
    found = group_columns(columns, groups)
    if group not in found:
        raise ConfigError(f"no feature is of group {group!r}; there are: {', '.join(found)}")
    return {name: (reference or {}).get(name, np.nan) for name in found[group]}


def what_if(
    slate: Slate,
    score: Callable[[np.ndarray], np.ndarray],
    place: int,
    changes: Mapping[str, float],
    *,
    everyone: bool = False,
) -> WhatIf:
    """Score again with some features set to other values: where would it stand?

    It asks the model, not the world: features that move together in life are moved alone here.

    Args:
        slate: candidates in order.
        score: float32 [N, F] -> float64 [N], the ranker's score of rows of features.
        place: which candidate, from 0.
        changes: column -> value; NaN makes it missing.
        everyone: change every candidate, not this one alone.

    Raises:
        ConfigError: there is no such place or column.

    Example:
        >>> from muma.ranking.ranker import Slate
        >>> value_NF = np.array([[3.0], [2.0], [1.0]], np.float32)
        >>> slate = Slate(np.arange(3), value_NF[:, 0], value_NF, ("fresh",), {}, lambda v: v)
        >>> what_if(slate, lambda v: v[:, 0], 0, {"fresh": 1.5}).rank_after
        2
    """
    _check_places(slate, place)
    if unknown := sorted(set(changes) - set(slate.columns)):
        raise ConfigError(
            f"the slate has no feature {unknown[0]!r}; it has: {', '.join(slate.columns)}"
        )
    value_NF = slate.value_NF.copy()
    for name, value in changes.items():
        value_NF[slice(None) if everyone else place, slate.columns.index(name)] = value
    before_N, after_N = np.asarray(score(slate.value_NF)), np.asarray(score(value_NF))
    return WhatIf(
        dict(changes), float(before_N[place]), float(after_N[place]),
        _rank(before_N, place), _rank(after_N, place),
    )  # fmt: skip


def _rank(score_N: np.ndarray, place: int) -> int:
    """Rank from 1; equal scores keep the order of the slate."""
    return 1 + int((score_N > score_N[place]).sum() + (score_N[:place] == score_N[place]).sum())


def _attributions(slate: Slate, *places: int) -> np.ndarray:
    _check_places(slate, *places)
    phi_nF = np.asarray(slate.explained(slate.value_NF[list(places)]), np.float64)
    score_n, total_n = slate.score_N[list(places)], phi_nF.sum(axis=1)
    size_n = np.maximum(1.0, np.abs(phi_nF).sum(axis=1))
    if (bad_n := ~(np.abs(total_n - score_n) <= TOLERANCE * size_n)).any():
        at = int(np.flatnonzero(bad_n)[0])
        raise DataError(
            f"the attributions at place {places[at]} sum to {total_n[at]:.6g} but its score is "
            f"{score_n[at]:.6g}; explain a slate with the ranker that scored it"
        )
    return phi_nF


def _check_places(slate: Slate, *places: int) -> None:
    for place in places:
        if not 0 <= place < len(slate):
            raise ConfigError(
                f"place {place} is not in the slate; allowed are 0 to {len(slate) - 1}"
                if len(slate)
                else f"place {place} is not in the slate, which is empty"
            )


def _ranked(parts: list[P]) -> tuple[P, ...]:
    return tuple(sorted(parts, key=lambda part: -abs(part.contribution)))


def _by_group(parts: Iterable[tuple[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for group, contribution in parts:
        total[group] = total.get(group, 0.0) + contribution
    return dict(sorted(total.items(), key=lambda entry: -abs(entry[1])))
