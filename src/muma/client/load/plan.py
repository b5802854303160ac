"""When requests leave: moments fixed before the run."""

from __future__ import annotations

import numpy as np

from muma.client.load.load import ROUTES, LoadConfig, Route
from muma.rng import derive


def moments(config: LoadConfig) -> tuple[np.ndarray, list[Route]]:
    """Moments in seconds since the start, ascending, and the route of each.

    Even arrivals of several routes begin apart, so that they do not all meet.

    Example:
        >>> at_R, routes = moments(LoadConfig(rps=2, seconds=1, warm_s=1))
        >>> at_R.tolist(), set(routes)
        ([0.125, 0.625, 1.125, 1.625], {'recommendations'})
    """
    until, found, names = config.warm_s + config.seconds, [], []
    for place, route in enumerate(ROUTES):
        rate = config.rate(route)
        if not rate:
            continue
        if config.arrivals == "even":
            at_R = (np.arange(int(until * rate)) + (place + 1) / (len(ROUTES) + 1)) / rate
        else:
            at_R = _poisson(derive(config.seed, "arrivals", route), rate, until)
        found.append(at_R)
        names += [route] * len(at_R)
    if not found:
        return np.zeros(0), []
    every_R = np.concatenate(found)
    order_R = np.argsort(every_R, kind="stable")
    return every_R[order_R], [names[place] for place in order_R.tolist()]


def _poisson(rng: np.random.Generator, rate: float, until: float) -> np.ndarray:
    """Given their number, the moments of a Poisson process are uniform and independent."""
    return np.sort(rng.uniform(0.0, until, rng.poisson(rate * until)))
