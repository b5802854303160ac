"""The contract of load: how much of what is sent, and what was seen of every request.

Requests leave at moments that were fixed before, however slowly others are answered, and each is timed
from the moment it should have left: a service that stalls is charged for all that wait (no coordinated
omission; Tene, "How not to measure latency", 2013).

Shape: R requests of one route, in the order of their moments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from muma.config import Config

Route = Literal["recommendations", "rank", "events"]
ROUTES: tuple[Route, ...] = ("recommendations", "rank", "events")


class LoadConfig(Config):
    """How much of what.

    Attributes:
        rps: requests a second to `POST /v1/recommendations`.
        rank_rps: to `POST /v1/rank`.
        events_per_s: events a second, sent in batches.
        batch: events of one `POST /v1/events`.
        count: slots of a list.
        rank_items: items of one request to rank.
        rank_count: of them that are wanted; None is all.
        seconds: of measuring.
        warm_s: of the same load before, which is left out.
        arrivals: `even` spaces requests equally; `poisson` as independent visitors come.
        links: most connections; what finds none free waits, and its clock runs.
        timeout_s: after which a request is given up.
        seed: of who asks for what.
    """

    rps: float = Field(default=100.0, ge=0)
    rank_rps: float = Field(default=0.0, ge=0)
    events_per_s: float = Field(default=0.0, ge=0)
    batch: int = Field(default=50, ge=1, le=1_000)
    count: int = Field(default=10, ge=1, le=200)
    rank_items: int = Field(default=100, ge=1, le=1_000)
    rank_count: int | None = Field(default=None, ge=1, le=200)
    seconds: float = Field(default=20.0, gt=0)
    warm_s: float = Field(default=3.0, ge=0)
    arrivals: Literal["even", "poisson"] = "even"
    links: int = Field(default=64, ge=1, le=900)
    timeout_s: float = Field(default=10.0, gt=0)
    seed: int = Field(default=0, ge=0)

    def rate(self, route: Route) -> float:
        """Requests a second of a route."""
        if route == "recommendations":
            return self.rps
        return self.rank_rps if route == "rank" else self.events_per_s / self.batch


@dataclass(frozen=True)
class Seen:
    """What was seen of one route's requests, those of the warm-up left out.

    Attributes:
        at_R: when each should have left, seconds since the start.
        took_R: from then to the answer's last byte, seconds; a request that failed is in it, too.
        late_R: from then until it did leave, seconds: the generator's and the links' own share.
        errors: kind -> how many: a status, `timeout`, `connection`.
    """

    at_R: np.ndarray
    took_R: np.ndarray
    late_R: np.ndarray
    errors: Mapping[str, int]

    def ms(self, percent: float) -> float:
        """A percentile of the times, milliseconds; 100 is the longest, NaN without requests."""
        return float(np.percentile(self.took_R, percent)) * 1e3 if len(self.took_R) else np.nan


@dataclass(frozen=True)
class LoadResult:
    """One run.

    Attributes:
        routes: what was seen of each route that was asked.
        seconds: from the first measured moment to the last answer.
        cpu_share: processor time of the generator, in cores.
    """

    routes: Mapping[Route, Seen]
    seconds: float
    cpu_share: float

    @property
    def errors(self) -> int:
        """Requests of all routes that got no good answer."""
        return sum(sum(seen.errors.values()) for seen in self.routes.values())

    def flat(self) -> dict[str, float]:
        """Everything as one flat table: units in the names."""
        found: dict[str, float] = {}
        for route, seen in self.routes.items():
            good = len(seen.took_R) - sum(seen.errors.values())
            found |= {f"{route}_{name}_ms": seen.ms(q) for name, q in QUANTILES.items()}
            late = float(np.percentile(seen.late_R, 99)) * 1e3 if len(seen.late_R) else np.nan
            found |= {
                f"{route}_requests": len(seen.took_R),
                f"{route}_good_per_s": good / self.seconds,
                f"{route}_left_late_p99_ms": late,
            }
        kinds: Counter[str] = Counter()
        for seen in self.routes.values():
            kinds.update(seen.errors)
        found |= {f"errors_{kind}": count for kind, count in sorted(kinds.items())}
        return {**found, "errors": self.errors, "generator_cores": self.cpu_share}


QUANTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0}
