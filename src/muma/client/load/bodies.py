"""Who asks for what: bodies of requests, drawn from given users and items."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from muma.client.load.load import LoadConfig, Route
from muma.rng import derive

KINDS = ("impression", "impression", "impression", "play", "click", "long_view")
"""Kinds of events, as often as they stand here."""
DRAWN = 1 << 14  # random numbers that are drawn at once


class Bodies:
    """Makes bodies; equal seeds make equal ones.

    Args:
        config: sizes and the seed.
        users: ids to draw from; without any, lists are for anonymous visitors.
        items: ids to draw from.
        name: event ids and request ids begin with it.

    Example:
        >>> bodies = Bodies(LoadConfig(count=3), users=["u1"], items=["a"], name="t")
        >>> bodies.make("recommendations")[0]
        b'{"count":3,"user":"u1"}'
        >>> bodies.make("events")[1]        # the batch is named by its first event
        0
    """

    def __init__(
        self, config: LoadConfig, *, users: Sequence[str], items: Sequence[str], name: str
    ) -> None:
        self._config, self._name = config, json.dumps(name)[1:-1]
        asks = [{"count": config.count, "user": user} for user in users]
        self._asks = [_packed(ask) for ask in asks or [{"count": config.count}]]
        self._users = [json.dumps(user) for user in users or ["somebody"]]
        self._items = [json.dumps(item) for item in items]
        self._rng = derive(config.seed, "load", name)
        self._numbers: list[int] = []
        self.events = 0

    def make(self, route: Route) -> tuple[bytes, int]:
        """A body, and of events the number of the first; ids are `name-number`."""
        if route == "recommendations":
            return self._asks[self._draw() % len(self._asks)], 0
        if route == "rank":
            return self._ranked(), 0
        first = self.events
        self.events += self._config.batch
        events = ",".join(self._event(n) for n in range(first, self.events))
        return f"[{events}]".encode(), first

    def _ranked(self) -> bytes:
        most = min(self._config.rank_items, len(self._items))
        start = self._draw() % len(self._items)
        chosen = [self._items[(start + n) % len(self._items)] for n in range(most)]
        user = self._users[self._draw() % len(self._users)]
        wanted = self._config.rank_count
        count = "" if wanted is None else f'"count":{wanted},'
        return f'{{"user":{user},{count}"items":[{",".join(chosen)}]}}'.encode()

    def _event(self, n: int) -> str:
        user = self._users[self._draw() % len(self._users)]
        item = self._items[self._draw() % len(self._items)]
        kind = KINDS[self._draw() % len(KINDS)]
        return (
            f'{{"event_id":"{self._name}-{n}","user_id":{user},"kind":"{kind}","item_id":{item}}}'
        )

    def _draw(self) -> int:
        if not self._numbers:
            self._numbers = self._rng.integers(0, 1 << 31, DRAWN, dtype=np.int64).tolist()
        return self._numbers.pop()


def _packed(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
