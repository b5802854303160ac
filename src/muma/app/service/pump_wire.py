"""What a service and its pump's process say to each other: one line of JSON each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from muma.backends.partition_reader import Acknowledged

Do = Literal["open", "wake", "forget", "pause", "stop", "gone"]


class First(msgspec.Struct, frozen=True):
    """The first line to the process.

    Attributes:
        path: where Python looks for modules.
        config: the recipe.
    """

    path: list[str]
    config: dict[str, Any]


class Order(msgspec.Struct, frozen=True):
    """What the process is to do.

    Attributes:
        do: `open` the store, take what has come (`wake`), also events that were blanked (`forget`), let go
            of the store (`pause`), or `stop`; `gone` is nobody's word: the one who gave orders has ended.
        acknowledged: how far the stream's partitions may be read.
    """

    do: Do
    acknowledged: Mapping[int, Acknowledged] = {}


class Report(msgspec.Struct, frozen=True):
    """How the process is doing; after every step, and when its state changes.

    Attributes:
        state: `starting`, `open`, `paused` or `failed`, which is its last word.
        read: events of this step.
        applied: partition -> offset after its last applied event.
        settled: all that was applied is committed.
        trouble: why the state is not kept up to date; None when it is.
        kind: of the error behind it.
        durable: partition -> offset that survives a power cut, when a copy was made.
    """

    state: Literal["starting", "open", "paused", "failed"]
    read: int = 0
    applied: Mapping[int, int] = {}
    settled: bool = False
    trouble: str | None = None
    kind: str = ""
    durable: Mapping[int, int] | None = None


def line(said: First | Order | Report) -> bytes:
    """As it goes over the pipe."""
    return msgspec.json.encode(said) + b"\n"
