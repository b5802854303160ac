"""A live feed: JSON lines as they come, to the event stream, while the engine runs.

A line is an event with raw ids and the names of `STREAM_COLUMNS`. A line that cannot be used goes to
`RUN/refused.jsonl` with its number and the reason, and the feed goes on. When the engine or the disk
falls behind, reading pauses: the pipe fills and the sender waits.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from muma.app.config import AppConfig
from muma.app.streaming import Streaming, begin_pumped
from muma.errors import DataError, MumaError, RetryLater, StreamError
from muma.features.online.intake import Intake, IntakeConfig
from muma.features.online.pump import Pulse

CHUNK = 1 << 18  # bytes of one read
LONGEST_LINE = 1 << 20


@dataclass
class Fed:
    """What became of a feed: lines read, events taken, lines refused."""

    lines: int = 0
    taken: int = 0
    refused: int = 0


def feed(
    opened: Streaming,
    descriptor: int,
    config: AppConfig,
    *,
    clock: Callable[[], int],
    stop: Callable[[], bool] = lambda: False,
    each: Callable[[Pulse], None] = lambda _: None,
) -> tuple[Pulse, Fed]:
    """Read JSON lines from a file descriptor until it ends or `stop` says so.

    The recipe's own log is streamed first, if it was not yet.

    Args:
        opened: the online side.
        descriptor: an open file, pipe or socket.
        config: the recipe, for bounds.
        clock: UTC microseconds.
        stop: asked between reads.
        each: told after each step of the engine.

    Returns:
        How the engine ended, and the counts. Every taken event is on disk; after a stop, the next
        run applies those that were not applied yet.
    """
    if not begin_pumped(opened, stop=stop, each=each):
        return opened.pump.close(), Fed()
    section = config.stream
    bounds = IntakeConfig(
        queue_events=section.queue_events,
        lag_events=section.lag_events,
        most_at_once=min(section.most_at_once, section.queue_events),
    )
    intake = Intake(opened.stream, config=bounds, clock=clock, lag=opened.pump.lag)
    fed, ended = Fed(), threading.Event()
    failure: list[Exception] = [StreamError("the feed broke off; its error is above")]

    def take() -> None:
        try:
            with (config.folder / "refused.jsonl").open("a", encoding="utf-8") as refusals:
                for first, lines in _lines(descriptor, stop):
                    _take(intake, fed, first, lines, refusals.write)
            failure.clear()
        except StreamError as error:
            failure[:] = [] if stop() else [error]  # after a stop the door is closed
        except (MumaError, OSError) as error:
            failure[:] = [error]
        finally:
            ended.set()

    feeder = threading.Thread(target=take, name="muma-feed", daemon=True)
    feeder.start()
    try:
        done = opened.pump.run(
            follow=True,
            stop=lambda: stop() or (ended.is_set() and not opened.pump.lag()),
            each=each,
        )
    finally:
        intake.close()
    if ended.is_set() and failure:
        raise failure[0]
    return done, fed


def _lines(descriptor: int, stop: Callable[[], bool]) -> Iterator[tuple[int, list[bytes]]]:
    """Whole lines as they come, with the number of the first, from 1."""
    rest, number = b"", 1
    while not stop():
        piece = os.read(descriptor, CHUNK)
        if not piece:
            break
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > LONGEST_LINE:
            raise DataError(f"line {number + len(lines)} is longer than {LONGEST_LINE:,} bytes")
        if lines:
            yield number, lines
            number += len(lines)
    if rest.strip():
        yield number, [rest]


def _take(
    intake: Intake, fed: Fed, first: int, lines: list[bytes], refuse: Callable[[str], object]
) -> None:
    """Submit the lines together; one by one when they do not pass together."""
    numbered = [(first + n, line) for n, line in enumerate(lines) if line.strip()]
    fed.lines += len(numbered)
    if not numbered:
        return
    with suppress(DataError, pl.exceptions.PolarsError):
        fed.taken += _submit(intake, b"\n".join(line for _, line in numbered))
        return
    for number, line in numbered:  # nothing was taken: find the lines that cannot be used
        try:
            fed.taken += _submit(intake, line)
        except (DataError, pl.exceptions.PolarsError) as error:
            fed.refused += 1
            text = line.decode("utf-8", errors="replace")
            refuse(json.dumps({"line": number, "reason": str(error), "text": text}) + "\n")


def _submit(intake: Intake, text: bytes) -> int:
    frame = pl.read_ndjson(text, infer_schema_length=None)
    while True:
        try:
            intake.submit(frame).result()
        except RetryLater as later:
            time.sleep(later.after_s)
            continue
        return frame.height


def source_of(path: str) -> int:
    """Open a feed: `-` is standard input.

    Raises:
        DataError: there is no such file.
    """
    if path == "-":
        return 0
    if not Path(path).exists():
        raise DataError(f"{path} does not exist; name a file or pipe of JSON lines, or - for stdin")
    return os.open(path, os.O_RDONLY)
