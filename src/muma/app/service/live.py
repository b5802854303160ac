"""Held-out events of a recipe's log, played to a running service as if they happened now.

Each tick sends what the clock has reached, and asks for some of those users what they should see next,
before their events are sent. Event ids name the rows of the log, so that a stretch that is played twice
counts once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from muma.client import Client
from muma.config import Config
from muma.errors import ServiceError
from muma.events.event import EventLog

FIELDS = {
    "kind": "kind", "domain": "domain", "timestamp": "timestamp", "dwell_ms": "dwell_ms",
    "item_duration_ms": "item_duration_ms", "position": "position", "value": "value",
}  # fmt: skip
"""Columns of a log that a sender says; request ids of the log are another service's."""


class LiveConfig(Config):
    """Settings of `play`.

    Attributes:
        tick_s: between two looks at the clock, seconds.
        asks: answers a tick, at most.
        count: items an answer.
        batch: most events a request.
        kept: the newest answers whose times are kept.
    """

    tick_s: float = Field(default=0.25, gt=0)
    asks: int = Field(default=2, ge=0)
    count: int = Field(default=10, ge=1)
    batch: int = Field(default=500, ge=1)
    kept: int = Field(default=2000, ge=1)


@dataclass
class Played:
    """What has been played so far.

    Attributes:
        at: event time that was reached, microseconds.
        events: sent and on the service's disk.
        duplicates: of those, sent before.
        refused: that the service did not take.
        answers: that came.
        failed: requests that did not succeed.
        degraded: answers that lacked something.
        answer_ms: times of the newest answers, milliseconds.
        users: who did something.
        elapsed_s: since the beginning, seconds.
        trouble: why the last failed request failed.
    """

    at: int
    events: int = 0
    duplicates: int = 0
    refused: int = 0
    answers: int = 0
    failed: int = 0
    degraded: int = 0
    answer_ms: deque[float] = field(default_factory=deque)
    users: set[str] = field(default_factory=set)
    elapsed_s: float = 0.0
    trouble: str | None = None

    def quantile_ms(self, share: float) -> float:
        """Of the newest answers' times; NaN before the first."""
        return float(np.quantile(self.answer_ms, share)) if self.answer_ms else float("nan")


def play(
    log: EventLog,
    client: Client,
    *,
    clock: Callable[[], int],
    begin: int,
    config: LiveConfig = LiveConfig(),
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Played]:
    """Send events from `begin` on as the clock reaches them; yields after every tick, until the log ends.

    Args:
        log: the whole log.
        client: of the service; its key may read and write.
        clock: event time now, microseconds.
        begin: first event time that is played.
        config: settings.
        stop: asked every tick; True ends it.

    A request that fails is counted and said, and its events are not sent again.
    """
    rows = log.between(begin).events.collect()
    time_E = rows["timestamp"].to_numpy()
    known = log.between(None, begin).events.select(pl.len()).collect().item()
    users, items = (ids.cast(pl.String) for ids in (log.user_ids.ids, log.item_ids.ids))
    found = Played(begin, answer_ms=deque(maxlen=config.kept))
    began, sent = time.perf_counter(), 0
    while sent < len(rows) and not stop():
        reached = int(np.searchsorted(time_E, clock(), side="right"))
        for start in range(sent, reached, config.batch):
            piece = rows[start : min(start + config.batch, reached)]
            who = users.gather(piece["user_id"]).to_list()
            _ask(client, list(dict.fromkeys(who))[: config.asks], found, config.count)
            _send(client, _events(piece, who, items, first=known + start), found)
            found.users.update(who)
            found.at = int(piece.item(-1, "timestamp"))
        sent = max(sent, reached)
        found.elapsed_s = time.perf_counter() - began
        yield found
        time.sleep(config.tick_s)


def _events(
    piece: pl.DataFrame, who: list[str], items: pl.Series, *, first: int
) -> list[dict[str, Any]]:
    said = [name for name in FIELDS if name in piece.columns]
    contexts = [name for name in piece.columns if name.startswith("ctx_")]
    what = items.gather(piece["item_id"]).to_list()
    found = []
    for number, row in enumerate(piece.iter_rows(named=True)):
        event = {FIELDS[name]: row[name] for name in said if row[name] is not None}
        context = {n.removeprefix("ctx_"): row[n] for n in contexts if row[n] is not None}
        event |= {"event_id": f"log:{first + number}", "user_id": who[number]}
        event |= {"item_id": what[number]} if what[number] is not None else {}
        found.append(event | ({"context": context} if context else {}))
    return found


def _send(client: Client, events: list[dict[str, Any]], found: Played) -> None:
    try:
        done = client.send(events)
    except ServiceError as error:
        found.failed += 1
        found.trouble = str(error)
        return
    found.events += done.accepted
    found.duplicates += done.duplicates
    withheld = sum(done.withheld.values())  # without their users' consent: no mistake
    found.refused += len(done.refused) - withheld
    if len(done.refused) > withheld:
        found.trouble = str(done.refused[0])


def _ask(client: Client, users: list[str], found: Played, count: int) -> None:
    for user in users:
        began = time.perf_counter()
        try:
            answer = client.recommend(user=user, count=count)
        except ServiceError as error:
            found.failed += 1
            found.trouble = str(error)
            continue
        found.answer_ms.append((time.perf_counter() - began) * 1e3)
        found.answers += 1
        found.degraded += bool(answer.degraded)
