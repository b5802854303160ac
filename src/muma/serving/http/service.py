"""What the door opens onto: tenants, keys, a clock, and what to do at start and stop.

An application makes one `Service` in each worker process and hands it to `muma.serving.http.app.build`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import Field

from muma.config import Config
from muma.serving.keys import Key
from muma.serving.tenants import Tenants


class DoorConfig(Config):
    """Bounds of the door.

    Attributes:
        most_bytes: of a body.
        most_depth: of nesting in a body.
        most_events: in one batch.
        skew_s: how far ahead of the clock an event's time may be, seconds.
        body_s: time in which a body must have come, seconds.
        drain_s: longest wait for requests under way when the service stops, seconds.
        answer_threads: threads for answers; 0 answers on the event loop, one request after the
            other, which is quickest for an engine that needs the processor all the time.
        work_threads: threads for everything that waits for a disk: events, rules, models, erasure.
        most_waiting: work in those threads, under way and waiting; more is turned away with 503.
        operators: tenant whose admin keys may read `/metrics`.
        hsts: tell browsers to insist on TLS; set when TLS ends here or in front of here.
        origins: sites whose pages may call from a browser (CORS); none unless listed.
        page: whether people with a key find a page at `/`.
    """

    most_bytes: int = Field(default=1 << 20, ge=1)
    most_depth: int = Field(default=16, ge=1, le=100)
    most_events: int = Field(default=1_000, ge=1)
    skew_s: float = Field(default=300.0, ge=0)
    body_s: float = Field(default=10.0, gt=0)
    drain_s: float = Field(default=20.0, ge=0)
    answer_threads: int = Field(default=0, ge=0, le=256)
    work_threads: int = Field(default=8, ge=1, le=256)
    most_waiting: int = Field(default=256, ge=1)
    operators: str = "default"
    hsts: bool = False
    origins: tuple[str, ...] = ()
    page: bool = True


class KeyFinder(Protocol):
    """Knows API keys; `muma.serving.keys.KeyFile` is one."""

    def find(self, token: str) -> Key | None:
        """The key that `token` is, if it is good; never blocks for long."""
        ...


@dataclass(frozen=True)
class Service:
    """Everything behind the door.

    Attributes:
        tenants: who is served.
        keys: who may ask.
        clock: event time now, UTC microseconds; rules and windows go by it.
        config: bounds of the door.
        ready: part -> None when it can serve, or a short reason why not; asked at every `/readyz`.
        on_start: called in order before the first request, in a thread.
        on_stop: called in order when the last request is done: flush and close. All are called, even
            when one fails.
        metrics_folder: where worker processes leave their counts for each other; None for one process.
    """

    tenants: Tenants
    keys: KeyFinder
    clock: Callable[[], int]
    config: DoorConfig = field(default_factory=DoorConfig)
    ready: Mapping[str, Callable[[], str | None]] = field(default_factory=dict)
    on_start: tuple[Callable[[], object], ...] = ()
    on_stop: tuple[Callable[[], object], ...] = ()
    metrics_folder: str | None = None
