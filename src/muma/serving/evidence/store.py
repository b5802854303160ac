"""The contract of keeping evidence: hand it over at once, find it again by its request.

What is handed over is durable soon after, and never holds up an answer: a store that cannot keep up,
or whose disk refuses, counts what it loses and says so in its `Stats`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from muma.serving.recommending import Evidence


@dataclass(frozen=True)
class Stats:
    """How a store is doing; counts of this process since it was opened.

    Attributes:
        put: evidence handed over.
        durable: of it, on disk.
        lost: of it, never to be on disk: the queue was full, the disk refused, or it could not be
            encoded.
        waiting: of it, on the way; `put = durable + lost + waiting`.
        late: of what is durable, what took longer than promised.
        slowest_us: longest time from hand-over to disk, microseconds.
        bytes: written.
        failing: why the last write failed; None when it did not, or when that is some seconds ago and
            nothing came since.
    """

    put: int = 0
    durable: int = 0
    lost: int = 0
    waiting: int = 0
    late: int = 0
    slowest_us: int = 0
    bytes: int = 0
    failing: str | None = None


class EvidenceStore(Protocol):
    """Keeps what answers rested on. Safe to call from several threads."""

    def put(self, evidence: Evidence) -> bool:
        """Take evidence over, without waiting for anything; its arrays must not change afterwards.

        Returns:
            False when it is lost, which is counted.
        """
        ...

    def get(self, request_id: str, *, tenant: str | None = None) -> Evidence | None:
        """The evidence of a request, the newest if there are several; None when there is none.

        Args:
            request_id: of the ask.
            tenant: of the ask; None for any.

        Raises:
            StoreError: it is there and cannot be read.
        """
        ...

    def iterate(
        self, since: int | None = None, until: int | None = None, *, tenant: str | None = None
    ) -> Iterator[Evidence]:
        """All that is kept with `since <= ask.time < until` (microseconds; None: no bound).

        Of one process, in the order of hand-over.
        """
        ...

    def flush(self) -> None:
        """Wait until everything handed over before is durable or lost."""
        ...

    def stats(self) -> Stats:
        """How it is doing."""
        ...

    def close(self) -> None:
        """Flush and release; what is put afterwards is lost, and counted. Safe to call twice."""
        ...
