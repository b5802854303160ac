"""How often a key may ask: a token bucket each, in the memory of one process.

    tokens(t) = min(burst, tokens(s) + rate * (t - s));   a request takes one, or waits (1 - tokens) / rate

Each worker process counts for itself, so that the rate of the whole service is at most
`rate_per_s` times the workers. Keys that have not asked for longest are forgotten first; a forgotten
bucket is a full one.
"""

from __future__ import annotations

from collections import OrderedDict

from pydantic import Field

from muma.config import Config


class LimitsConfig(Config):
    """Pace of one key.

    Attributes:
        rate_per_s: requests a second in the long run.
        burst: requests at once after a pause.
        most_keys: buckets held in memory.
    """

    rate_per_s: float = Field(default=1_000.0, gt=0)
    burst: int = Field(default=2_000, ge=1)
    most_keys: int = Field(default=10_000, ge=1)


class Limits:
    """Buckets by key; one thread uses them, the event loop's.

    Args:
        config: the pace.

    Example:
        >>> limits = Limits(LimitsConfig(rate_per_s=1, burst=2))
        >>> [limits.take("a", now_s=0.0) for _ in range(3)]
        [0.0, 0.0, 1.0]
        >>> limits.take("a", now_s=1.0)
        0.0
    """

    def __init__(self, config: LimitsConfig | None = None) -> None:
        self.config = config or LimitsConfig()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        """Buckets in memory."""
        return len(self._buckets)

    def take(self, key: str, *, now_s: float) -> float:
        """Take one token; returns 0, or the seconds to wait when there is none.

        Args:
            key: whose.
            now_s: a clock that never goes back, seconds.
        """
        burst, rate = float(self.config.burst), self.config.rate_per_s
        tokens, then = self._buckets.get(key, (burst, now_s))
        tokens = min(burst, tokens + rate * max(0.0, now_s - then))
        wait_s = 0.0 if tokens >= 1 else (1 - tokens) / rate
        self._buckets[key] = (tokens - 1 if tokens >= 1 else tokens, now_s)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self.config.most_keys:
            self._buckets.popitem(last=False)
        return wait_s
