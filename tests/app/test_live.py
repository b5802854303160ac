"""Held-out events played to a service: each once, in order, with the caller's ids."""

from types import SimpleNamespace

import polars as pl
import pytest

from muma.app.service.clock import LogClock, log_clock
from muma.app.service.live import LiveConfig, play
from muma.errors import ConfigError, ServiceError
from muma.events.event import EventLog
from muma.events.vocabulary import Vocabulary

SECOND = 1_000_000


class Heard:
    """Remembers what came; fails as it is told to."""

    def __init__(self, fail=()):
        self.batches, self.asks, self.fail = [], [], set(fail)

    def send(self, events):
        self.batches.append(list(events))
        if len(self.batches) in self.fail:
            raise ServiceError("away")
        return SimpleNamespace(accepted=len(events), duplicates=0, refused=(), withheld={})

    def recommend(self, *, user, count):
        self.asks.append((user, count))
        return SimpleNamespace(degraded=("rank: late",) if user == "7" else ())


def log_of(times):
    n = len(times)
    return EventLog(
        events=pl.LazyFrame({
            "user_id": pl.Series([i % 3 for i in range(n)], dtype=pl.UInt32),
            "item_id": pl.Series([i % 2 for i in range(n)], dtype=pl.UInt32),
            "kind": ["click"] * n, "timestamp": times, "dwell_ms": [None, 5] * (n // 2),
            "ctx_tab": [1] * n, "request_id": ["of another service"] * n,
        }),
        user_ids=Vocabulary(pl.Series([7, 8, 9])),
        item_ids=Vocabulary(pl.Series(["a", "b"])),
    )  # fmt: skip


def played(client, times, *, begin, clock, **config):
    config = LiveConfig(tick_s=1e-6, **config)
    return list(play(log_of(times), client, clock=clock, begin=begin, config=config))


def test_events_come_when_the_clock_reaches_them_and_each_once():
    client, times = Heard(), [SECOND * n for n in range(10)]
    ticks = iter([SECOND * 4, SECOND * 4, SECOND * 6, SECOND * 100])
    found = played(client, times, begin=SECOND * 2, clock=lambda: next(ticks), batch=3)
    assert [len(batch) for batch in client.batches] == [3, 2, 3]
    sent = [event for batch in client.batches for event in batch]
    assert [event["timestamp"] for event in sent] == times[2:]
    assert [event["event_id"] for event in sent] == [f"log:{n}" for n in range(2, 10)]
    assert sent[0] == {
        "event_id": "log:2", "user_id": "9", "item_id": "a", "kind": "click",
        "timestamp": SECOND * 2, "context": {"tab": 1},
    }  # fmt: skip
    assert sent[1]["dwell_ms"] == 5
    assert found[-1].events == 8
    assert found[-1].at == times[-1]
    assert found[-1].users == {"7", "8", "9"}


def test_some_of_the_users_are_asked_before_their_events_are_sent():
    client = Heard()
    found = played(client, [0, 1, 2, 3], begin=0, clock=lambda: 10, asks=2, count=4)
    assert client.asks == [("7", 4), ("8", 4)]
    assert (found[-1].answers, found[-1].degraded, len(found[-1].answer_ms)) == (2, 1, 2)


def test_a_request_that_fails_is_counted_and_said_and_the_rest_is_sent():
    client = Heard(fail=[1])
    found = played(client, [0, 1, 2, 3], begin=0, clock=lambda: 10, batch=2, asks=0)
    assert (found[-1].failed, found[-1].events, found[-1].trouble) == (1, 2, "away")


def test_a_clock_of_the_log_stands_until_it_goes_and_never_back():
    passed = [5]
    clock = LogClock(100, speed=2, elapsed_ns=lambda: passed[0])
    assert clock() == 100
    clock.not_before(50)
    assert clock() == 100
    clock.not_before(200)
    passed[0] = 10_000
    clock.go()
    assert clock() == 200
    passed[0] = 20_000
    clock.not_before(10**9)
    clock.go()
    assert clock() == 220


def test_a_clock_of_the_log_begins_after_its_end_or_where_it_is_told():
    log = log_of([3, 9])
    assert log_clock(log)() == 10
    assert log_clock(log, 5)() == 5
    with pytest.raises(ConfigError, match="above 0"):
        log_clock(log, speed=0)
    with pytest.raises(ConfigError, match="no event"):
        log_clock(log_of([]))
