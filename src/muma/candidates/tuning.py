"""Choose a blend's weights by what they do to an objective, such as NDCG on a validation log."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from muma.errors import ConfigError
from muma.progress import track

Objective = Callable[[Mapping[str, float]], float]


@dataclass(frozen=True)
class Tuned:
    """The chosen weights, their objective, and how many settings were tried."""

    weights: Mapping[str, float]
    value: float
    tried: int


def tune(
    grid: Mapping[str, Sequence[float]], objective: Objective, *, max_settings: int = 1000
) -> Tuned:
    """Find the weights of `grid` with the greatest objective.

    Every combination is tried when there are at most `max_settings`; otherwise one weight after
    another is improved, from the middle of the grid, until a whole round improves nothing. Equal
    objectives keep the earlier setting; NaN never wins; weights that are all 0 are not tried.

    Args:
        grid: the values to try for each member.
        objective: greater is better, for example
            `lambda weights: ndcg(blend.with_weights(weights))`.
        max_settings: longest exhaustive search.

    Raises:
        ConfigError: a member has no value to try, or no setting has an objective.

    Example:
        >>> tune({"a": [0, 1, 2], "b": [0, 1]}, lambda w: w["b"] - abs(w["a"] - 1)).weights
        {'a': 1, 'b': 1}
    """
    if not grid or not all(grid.values()):
        raise ConfigError("the grid must give at least one value for each of one or more members")
    search = _Search(objective)
    if math.prod(map(len, grid.values())) <= max_settings:
        settings = itertools.product(*grid.values())
        for values in track(list(settings), label="tuning weights"):
            search.consider(dict(zip(grid, values, strict=True)))
    else:
        _climb(grid, search)
    if search.best is None:
        raise ConfigError("no setting of the grid has an objective that is a number")
    return Tuned(search.best, search.value, len(search.known))


def _climb(grid: Mapping[str, Sequence[float]], search: _Search) -> None:
    current = {name: values[len(values) // 2] for name, values in grid.items()}
    search.consider(current)
    before = -math.inf
    while search.value > before:
        before = search.value
        for name, values in grid.items():
            for value in values:
                search.consider({**(search.best or current), name: value})


class _Search:
    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.known: set[tuple[float, ...]] = set()
        self.best: dict[str, float] | None = None
        self.value = -math.inf

    def consider(self, weights: dict[str, float]) -> None:
        key = tuple(weights.values())
        if key in self.known or not any(key):
            return
        self.known.add(key)
        if (value := self.objective(weights)) > self.value:
            self.best, self.value = weights, value
