"""The door of a stream: bounded, shared by threads, nothing dropped, nothing taken by halves."""

import threading
from itertools import count

import polars as pl
import pytest

from muma.backends.stream_file import FileStream, FileStreamConfig
from muma.errors import DataError, RetryLater, StreamError
from muma.features.online.intake import Intake, IntakeConfig

T0 = 1_700_000_000_000_000


def frame(n, *, user="u", kind="click"):
    return pl.DataFrame(
        {
            "user_id": [user] * n,
            "item_id": [f"i{k}" for k in range(n)],
            "domain": ["news"] * n,
            "kind": [kind] * n,
            "timestamp": [T0 + k for k in range(n)],
        }
    )


@pytest.fixture
def stream(tmp_path):
    made = FileStream(FileStreamConfig(path=str(tmp_path / "s"), partitions=2))
    yield made
    made.close()


@pytest.fixture
def slow(stream, monkeypatch):
    """Appends wait until `go` is set."""
    go, real = threading.Event(), stream.append

    def append(*arguments, **options):
        assert go.wait(20)
        return real(*arguments, **options)

    monkeypatch.setattr(stream, "append", append)
    return go


def intake(stream, **options):
    lag = options.pop("lag", None)
    ticks = count(T0)
    return Intake(stream, config=IntakeConfig(**options), clock=lambda: next(ticks), lag=lag)


def test_what_is_acknowledged_is_in_the_stream(stream):
    door = intake(stream)
    assert sum(door.submit(frame(5)).result(10).values()) == 5
    door.close()
    door.close()
    assert sum(stream.ends().values()) == 5


def test_a_full_queue_says_when_to_come_back_and_takes_nothing(stream, slow):
    door = intake(stream, queue_events=10)
    taken = door.submit(frame(8))
    with pytest.raises(RetryLater, match="retry after") as told:
        door.submit(frame(3))
    assert 0 < told.value.after_s <= 30
    slow.set()
    taken.result(10)
    while door.waiting:
        pass
    door.submit(frame(3)).result(10)
    door.close()
    assert sum(stream.ends().values()) == 11


def test_a_lagging_engine_closes_the_door(stream):
    behind = [0]
    door = intake(stream, lag_events=100, lag=lambda: behind[0])
    door.submit(frame(1)).result(10)
    behind[0] = 101
    with pytest.raises(RetryLater, match="wait for the engine"):
        door.submit(frame(1))
    door.close()


def test_a_bad_frame_fails_alone(stream, slow):
    door = intake(stream)
    door.submit(frame(1))  # holds the writer, so that the others go together
    good, bad, other = (
        door.submit(frame(2)),
        door.submit(frame(2, kind="stare")),
        door.submit(frame(3)),
    )
    slow.set()
    good.result(10)
    other.result(10)
    with pytest.raises(DataError, match="kind"):
        bad.result(10)
    door.close()
    assert sum(stream.ends().values()) == 6


def test_many_threads_lose_nothing(stream):
    door = intake(stream, queue_events=50)

    def send(name):
        for _ in range(20):
            while True:
                try:
                    door.submit(frame(3, user=name)).result(10)
                    break
                except RetryLater:
                    continue

    threads = [threading.Thread(target=send, args=(f"u{k}",)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    door.close()
    assert sum(stream.ends().values()) == 6 * 20 * 3


def test_what_cannot_be_taken_is_said(stream):
    door = intake(stream, queue_events=5)
    with pytest.raises(DataError, match="in pieces"):
        door.submit(frame(6))
    door.close()
    with pytest.raises(StreamError, match="closed"):
        door.submit(frame(1))


def test_a_cancelled_frame_is_not_written(stream, slow):
    door = intake(stream)
    first, second = door.submit(frame(1)), door.submit(frame(4))
    second.cancel()
    slow.set()
    first.result(10)
    door.close()
    assert sum(stream.ends().values()) == (1 if second.cancelled() else 5)
