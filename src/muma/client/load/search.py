"""The highest rate of lists that a service bears: short runs, a doubling and a bisection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from muma.client.load.load import LoadResult

LEAST = 1.0  # a second: what bears less bears nothing


@dataclass(frozen=True)
class Borne:
    """What was found.

    Attributes:
        rps: the highest rate that was borne; 0 when even the lowest was not.
        refused: the lowest rate that was not; None when there was none.
        tried: rate -> p99 in milliseconds, in the order tried.
    """

    rps: float
    refused: float | None
    tried: dict[float, float]


def highest_rate(
    load: Callable[[float], LoadResult],
    *,
    p99_ms: float = 50.0,
    start: float = 50.0,
    most: float = 10_000.0,
    within: float = 0.05,
) -> Borne:
    """Double the rate until it is not borne, then halve the gap between borne and not.

    A rate is borne when the p99 of lists stays below the bound and no request of any route fails.

    Args:
        load: runs a rate.
        p99_ms: the bound.
        start: the first rate.
        most: never tried beyond.
        within: stop when the gap is smaller than this share of the rate.

    Example:
        >>> import numpy as np
        >>> from muma.client.load.load import Seen
        >>> def service(rps):
        ...     took = np.full(10, 0.001 if rps <= 130 else 1.0)
        ...     return LoadResult({"recommendations": Seen(took, took, took, {})}, 1.0, 0.0)
        >>> found = highest_rate(service, within=0.02)
        >>> 127 < found.rps <= 130 < found.refused
        True
    """
    tried: dict[float, float] = {}

    def borne(rps: float) -> bool:
        found = load(rps)
        tried[rps] = found.routes["recommendations"].ms(99)
        return tried[rps] < p99_ms and not found.errors

    low, high, rate = 0.0, None, start
    while high is None and rate <= most:
        if borne(rate):
            low, rate = rate, rate * 2
        else:
            high = rate
    while high is not None and high > LEAST and high - low > within * high:
        middle = round((low + high) / 2, 1)
        if not low < middle < high:  # no tenth of a request lies between
            break
        if borne(middle):
            low = middle
        else:
            high = middle
    return Borne(low, high, tried)
