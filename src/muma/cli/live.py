"""The last part of `muma demo`: the service started, held-out events played to it, its pulse shown."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.live import Live

from muma.app.config import AppConfig
from muma.cli.show import moment, titled
from muma.cli.terminal import escaped, now_us, out
from muma.errors import ServiceError
from muma.events.log_folder import open_log
from muma.serving import loading

if TYPE_CHECKING:  # they need the extra `serve`
    from muma.app.service.live import Played
    from muma.client import Client

COUNT, LATEST = 10, 5
PATIENCE_S, LINE_S = 60.0, 5.0
CATCH_UP_US = 60_000_000
"""The service's clock has run on by the time that the first events are sent."""


def run_live(
    config: AppConfig,
    recipe: str,
    overrides: Sequence[str],
    *,
    user: str,
    port: int | None,
    speed: float,
    seconds: float | None,
) -> None:
    """Serve and play until Ctrl-C, the end of the log, or the end of the time.

    Args:
        config: the recipe, trained.
        recipe: its path, for the service's process.
        overrides: `a.b=c`, likewise.
        user: whose answer is shown to change.
        port: to listen on; None takes a free one.
        speed: seconds of the log in one of ours.
        seconds: how long to play; None is without end.

    Raises:
        ServiceError: the service did not start.
    """
    server = loading.server()
    from muma.app.service.live import play
    from muma.app.service.make import keys_of
    from muma.client import Client
    from muma.serving.http.child import served

    held = keys_of(config, clock=now_us)
    key, token = held.create(
        tenant=config.serving.tenant, roles=("read", "write", "admin"), name="demo"
    )
    arguments = {
        "recipe": recipe, "overrides": [*overrides, "serving.begin=test"], "time_of": "log",
        "speed": speed,
    }  # fmt: skip
    listen = server.ServerConfig(
        factory="muma.app.service.make.make", arguments=arguments, port=port or _free_port()
    )
    began = time.perf_counter()
    try:
        with (
            served(listen, log=config.folder / "service.log") as url,
            Client(url, key=token) as client,
        ):
            ready_s = time.perf_counter() - began
            out.print(
                f"\nthe service is ready after {ready_s:.1f} s (events before the test window are in "
                f"its features); the page: [bold]{url}/?key={token}[/]",
                soft_wrap=True,
            )
            _change(client, user)
            start = client.time()
            began, clock_us = time.perf_counter(), start

            def clock() -> int:
                return clock_us + int((time.perf_counter() - began) * speed * 1e6)

            log = open_log(config.folder / "log")
            played = play(log, client, clock=clock, begin=start - CATCH_UP_US, stop=_after(seconds))
            _show(played, speed, seconds)
    finally:
        held.revoke(key.id)
    out.print(f"stopped cleanly; what the service said is in {config.folder / 'service.log'}")


def _change(client: Client, user: str) -> None:
    """One user's answer before and after a click, through HTTP."""
    before = client.recommend(user=user, count=COUNT)
    if not before.items:
        return
    item = before.items[0].item
    event = {"user_id": user, "item_id": item, "request_id": before.request_id}
    began = time.perf_counter()
    client.send([
        {"event_id": f"demo:{before.request_id}:{kind}", "kind": kind, **event}
        for kind in ("click", "long_view")
    ])  # fmt: skip
    while item not in {done["item"] for done in client.user(user).known["history"][:LATEST]}:
        if time.perf_counter() - began > PATIENCE_S:
            raise ServiceError(
                f"{PATIENCE_S:.0f} s after the click {item} is not in {user}'s history"
            )
    spent = (time.perf_counter() - began) * 1e3
    after = {one.item for one in client.recommend(user=user, count=COUNT).items}
    new = len(after - {one.item for one in before.items})
    out.print(
        f"{escaped(user)} watches {escaped(item)}: {spent:.0f} ms later the features know it, and {new} "
        f"of the next {len(after)} items are others",
        soft_wrap=True,
    )


def _show(played: Iterator[Played], speed: float, seconds: float | None) -> None:
    """What is being played, until it ends or Ctrl-C."""
    until = "Ctrl-C stops" if seconds is None else f"for {seconds:.0f} s"
    out.print(f"held-out events are played as they came, {speed:g} times as fast; {until}")
    last = None
    try:
        if out.is_terminal:
            with Live(console=out, refresh_per_second=4, transient=True) as live:
                for last in played:
                    live.update(_table(last))
        else:
            said = 0.0
            for last in played:
                if last.elapsed_s - said >= LINE_S:
                    said = last.elapsed_s
                    out.print(_line(last), soft_wrap=True)
    except KeyboardInterrupt:
        out.print("stopping")
    if last is None:
        raise ServiceError("no event is left to play; remove the run's stream and state")
    out.print(_table(last))
    if last.trouble:
        out.print(f"the last trouble: {escaped(last.trouble)}", soft_wrap=True)


def _table(found: Played) -> RenderableType:
    table = titled("live", "the log's clock")
    for name in ("events", "a second", "viewers", "answers", "p50 ms", "p99 ms", "failed"):
        table.add_column(name, justify="right")
    rate = found.events / found.elapsed_s if found.elapsed_s else 0.0
    table.add_row(
        moment(found.at), f"{found.events:,}", f"{rate:,.0f}", f"{len(found.users):,}",
        f"{found.answers:,}", f"{found.quantile_ms(0.5):.1f}", f"{found.quantile_ms(0.99):.1f}",
        f"{found.failed + found.refused:,}",
    )  # fmt: skip
    return table


def _line(found: Played) -> str:
    return (
        f"{moment(found.at)}: {found.events:,} events of {len(found.users):,} viewers, "
        f"{found.answers:,} answers, p50 {found.quantile_ms(0.5):.1f} ms, "
        f"p99 {found.quantile_ms(0.99):.1f} ms, {found.failed + found.refused} failed"
    )


def _after(seconds: float | None) -> Callable[[], bool]:
    if seconds is None:
        return lambda: False
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() >= end


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
