"""`muma loadtest`: what a running service bears, and how long it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muma.cli.terminal import Json, friendly
from muma.optional import require


@friendly
def loadtest(
    url: Annotated[str, typer.Argument(help="Of the service.")],
    key: Annotated[
        str, typer.Option("--key", envvar="MUMA_KEY", help="May read and, for events, write.")
    ],
    rps: Annotated[float, typer.Option("--rps", help="Lists a second.")] = 100.0,
    rank_rps: Annotated[float, typer.Option("--rank-rps", help="Rankings a second.")] = 0.0,
    events_per_s: Annotated[
        float, typer.Option("--events-per-s", help="They are kept by the service like any others.")
    ] = 0.0,
    batch: Annotated[int, typer.Option("--batch", help="Events of one request.")] = 50,
    count: Annotated[int, typer.Option("--count", help="Slots of a list.")] = 10,
    rank_items: Annotated[int, typer.Option("--rank-items", help="Items of one ranking.")] = 100,
    seconds: Annotated[float, typer.Option("--seconds", help="Of measuring.")] = 20.0,
    warm_s: Annotated[float, typer.Option("--warm-s", help="Of load before, left out.")] = 3.0,
    poisson: Annotated[
        bool, typer.Option("--poisson", help="Requests come at random, not evenly.")
    ] = False,
    users: Annotated[
        Path | None, typer.Option("--users", help="File of user ids, one a line.")
    ] = None,
    items: Annotated[
        Path | None, typer.Option("--items", help="File of item ids; else those of a first list.")
    ] = None,
    find: Annotated[
        bool, typer.Option("--find", help="Search the highest --rps with p99 < 50 ms.")
    ] = False,
    json: Json = False,
) -> None:
    """Send requests at a fixed rate, however slow the answers, and show how long they took.

    Times count from the moment a request should have left. Without --users lists are for anonymous
    visitors. Exit code 1 when a request failed.

    Example: muma loadtest http://127.0.0.1:8000 --key muma_... --rps 200 --events-per-s 1000

    Python: muma.client.load.run.run(url, key, LoadConfig(rps=200), users=users, items=items)
    """
    for library in ("httpx", "msgspec"):
        require(library, extra="serve")
    from muma.cli.show_load import Who, find_rate, load_once  # noqa: PLC0415 - needs the extra

    said = {
        "rps": rps, "rank_rps": rank_rps, "events_per_s": events_per_s, "batch": batch,
        "count": count, "rank_items": rank_items, "seconds": seconds, "warm_s": warm_s,
        "arrivals": "poisson" if poisson else "even",
    }  # fmt: skip
    who = Who(url, key, users, items)
    if find:
        find_rate(who, said, as_json=json)
    elif load_once(who, said, as_json=json):
        raise typer.Exit(1)
