"""What commands share: consoles, progress bars, JSON output, errors as exit code 2."""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from muma.errors import ConfigError, MumaError
from muma.progress import reporting

P = ParamSpec("P")
R = TypeVar("R")

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)
if not out.is_terminal:
    out = Console(highlight=False, width=120)  # a pipe has no width of its own

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Override a key of the recipe; may be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Recipe = Annotated[str, typer.Argument(help="Path of a TOML recipe; see recipes/.")]


def now_us() -> int:
    """The clock that the command line hands in: UTC microseconds."""
    return time.time_ns() // 1_000


def moment_us(text: str) -> int:
    """A moment in ISO 8601 as UTC microseconds; without a zone it is UTC.

    Raises:
        ConfigError: it is no moment.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--at {text!r} is not a moment; write 2022-05-01T12:00:00") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1e6)


def print_json(data: Any) -> None:
    """Print plain data as one line of JSON."""
    sys.stdout.write(json.dumps(data, allow_nan=False) + "\n")


def friendly(command: Callable[P, R]) -> Callable[P, R]:
    """Turn every expected error into a message on stderr and exit code 2."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except MumaError as error:
            err.print(f"[bold red]error:[/] {escaped(str(error))}", soft_wrap=True)
            raise typer.Exit(2) from None
        except MemoryError:
            err.print("[bold red]error:[/] out of memory; use less data or smaller settings")
            raise typer.Exit(2) from None
        except OSError as error:
            place = "" if error.filename is None else f"{error.filename}: "
            text = f"{place}{error.strerror or error}"
            err.print(f"[bold red]error:[/] {escaped(text)}", soft_wrap=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            err.print("stopped; nothing half-written is left", soft_wrap=True)
            raise typer.Exit(130) from None

    return wrapped


def escaped(text: str) -> str:
    """Text without console markup."""
    return text.replace("[", r"\[")


class _Bars:
    """Shows tasks as bars; finished ones disappear."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def start(self, label: str, total: float | None) -> int:
        return int(self._progress.add_task(label, total=total))

    def advance(self, task: int, amount: float) -> None:
        self._progress.advance(task, amount)  # pyright: ignore[reportArgumentType]

    def finish(self, task: int) -> None:
        self._progress.remove_task(task)  # pyright: ignore[reportArgumentType]


@contextmanager
def progress_bars(*, quiet: bool = False) -> Iterator[None]:
    """Show progress on a terminal; say nothing when piped."""
    if quiet or not err.is_terminal:
        yield
        return
    columns = (
        TextColumn("{task.description:>24}"), BarColumn(bar_width=32),
        TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=err, transient=True) as bars, reporting(_Bars(bars)):
        yield
