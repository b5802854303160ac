"""Progress of long work: silent until somebody who owns a terminal installs a reporter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

T = TypeVar("T")


class Reporter(Protocol):
    """What the command line implements to show progress."""

    def start(self, label: str, total: float | None) -> int:
        """Open a task and return its handle; `total` is None when it is unknown."""
        ...

    def advance(self, task: int, amount: float) -> None:
        """Move a task forward by `amount` units of its total."""
        ...

    def finish(self, task: int) -> None:
        """Close a task."""
        ...


_reporter: ContextVar[Reporter | None] = ContextVar("muma_progress", default=None)


@contextmanager
def reporting(reporter: Reporter | None) -> Iterator[None]:
    """Send the progress of everything inside the block to `reporter`."""
    token = _reporter.set(reporter)
    try:
        yield
    finally:
        _reporter.reset(token)


class Task:
    """A piece of long work; `advance` moves its bar, if anybody is looking."""

    def __init__(self, label: str, *, total: float | None = None) -> None:
        self._reporter = _reporter.get()
        self._handle = self._reporter.start(label, total) if self._reporter else 0

    def advance(self, amount: float = 1) -> None:
        """Move forward by `amount` units of the total."""
        if self._reporter:
            self._reporter.advance(self._handle, amount)

    def close(self) -> None:
        """End the task; safe to call once."""
        if self._reporter:
            self._reporter.finish(self._handle)


@contextmanager
def task(label: str, *, total: float | None = None) -> Iterator[Task]:
    """Open a `Task` for the length of the block."""
    opened = Task(label, total=total)
    try:
        yield opened
    finally:
        opened.close()


def track(items: Iterable[T], *, label: str, total: float | None = None) -> Iterator[T]:
    """Yield `items` and move a progress bar one step for each.

    Example:
        >>> list(track([1, 2], label="counting"))
        [1, 2]
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # pyright: ignore[reportArgumentType]
    with task(label, total=total) as opened:
        for item in items:
            yield item
            opened.advance()
