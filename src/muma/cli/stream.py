"""`muma stream`: features kept up to date, exactly once."""

from __future__ import annotations

import os
import signal
import time
from typing import Annotated

import typer

from muma.app.config import read_recipe
from muma.app.feed import feed, source_of
from muma.app.streaming import open_streaming, replay, state_folder
from muma.cli.show_features import show_stream
from muma.cli.terminal import Json, Recipe, Set, err, friendly, now_us, print_json, progress_bars
from muma.features.online.pump import Pulse


@friendly
def stream(
    recipe: Recipe,
    live: Annotated[
        str | None,
        typer.Option("--feed", help="Take JSON lines from this file or pipe (- is stdin)."),
    ] = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Run the online engine over the recipe's log, or over a live feed, into RUN/state.

    Events go to a durable stream first; the state follows with the offsets it holds. Run it again
    and it goes on where it stopped, whatever stopped it. Ctrl-C stops cleanly.

    Example: muma stream recipes/demo.toml

    Example: tail -f events.jsonl | muma stream recipes/demo.toml --feed -

    Python: muma.app.streaming.open_streaming(config, clock=...), replay(opened)
    """
    config = read_recipe(recipe, overrides=set_ or ())
    os.nice(config.stream.nice)
    asked = _Stop()
    ticker = _Ticker(quiet=json)
    with (
        progress_bars(quiet=json or live is not None),
        open_streaming(config, clock=now_us) as opened,
    ):
        before = opened.engine.counters.events
        began = time.perf_counter()
        if live is None:
            pulse, extra = replay(opened, stop=asked, each=ticker), {}
        else:
            source = source_of(live)
            pulse, fed = feed(opened, source, config, clock=now_us, stop=asked, each=ticker)
            extra = {"lines": fed.lines, "taken": fed.taken, "refused": fed.refused}
        seconds = time.perf_counter() - began
    report = {
        "state": str(state_folder(config)),
        "stopped": asked.asked,
        "events": pulse.events,
        "new_events": pulse.events - before,
        "seconds": round(seconds, 2),
        "lag_events": pulse.lag_events,
        "late_dropped": pulse.late_dropped,
        "duplicates": pulse.duplicates,
        "quarantined": pulse.quarantined,
        "version": pulse.version,
        **extra,
    }
    if json:
        print_json(report)
        return
    show_stream(report)


class _Stop:
    """True once Ctrl-C or a TERM has come; a second one stops at once."""

    def __init__(self) -> None:
        self.asked = False
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self._ask)

    def __call__(self) -> bool:
        return self.asked

    def _ask(self, number: int, frame: object) -> None:
        del frame
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        signal.signal(number, signal.default_int_handler)


class _Ticker:
    """One line a second on a terminal: events/s, lag, late, quarantined."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet or not err.is_terminal
        self._at = time.perf_counter()
        self._events: int | None = None

    def __call__(self, pulse: Pulse) -> None:
        now = time.perf_counter()
        if self._events is None:
            self._events = pulse.events
        if self._quiet or now - self._at < 1:
            return
        rate = (pulse.events - self._events) / (now - self._at)
        self._at, self._events = now, pulse.events
        err.print(
            f"{pulse.events:>12,} events  {rate:>10,.0f}/s  lag {pulse.lag_events:,} "
            f"({pulse.lag_s:.1f} s)  late {pulse.late_dropped:,}  repeated {pulse.duplicates:,}  "
            f"quarantined {pulse.quarantined:,}"
        )
