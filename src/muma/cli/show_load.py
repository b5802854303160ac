"""What `muma loadtest` does and shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muma.cli.show import titled
from muma.cli.terminal import err, out, print_json
from muma.client import Client
from muma.client.load.load import QUANTILES, LoadConfig, LoadResult
from muma.client.load.run import run
from muma.client.load.search import highest_rate
from muma.config import parse
from muma.errors import ConfigError

SETTLE_S, FIND_S = 1.0, 6.0


@dataclass(frozen=True)
class Who:
    """Whom to ask, and files of ids, one a line.

    Attributes:
        url: of the service.
        key: for it.
        users: file of users; None is anonymous visitors.
        items: file of items; None takes those that the service shows.
    """

    url: str
    key: str
    users: Path | None
    items: Path | None

    def run(self, config: LoadConfig, items: list[str]) -> LoadResult:
        """One run."""
        return run(self.url, self.key, config, users=_lines(self.users), items=items)

    def all_items(self, config: LoadConfig) -> list[str]:
        """Items to send, when any are needed."""
        found = _lines(self.items)
        if found or not (config.rank_rps or config.events_per_s):
            return found
        with Client(self.url, key=self.key) as client:
            shown = [item.item for item in client.recommend(count=200).items]
        if not shown:
            raise ConfigError("the service shows a stranger nothing; name items with --items")
        return shown


def load_once(who: Who, said: Mapping[str, Any], *, as_json: bool) -> int:
    """Run and show; returns how many requests failed."""
    config = parse(LoadConfig, said, where="loadtest")
    result = who.run(config, who.all_items(config))
    if as_json:
        print_json({name: _plain(value) for name, value in result.flat().items()})
    else:
        _show(result)
    return result.errors


def find_rate(who: Who, said: Mapping[str, Any], *, as_json: bool) -> None:
    """Search the highest rate and show it."""
    config = parse(LoadConfig, said, where="loadtest")
    items = who.all_items(config)

    def load(rps: float) -> LoadResult:
        seconds = min(config.seconds, FIND_S)
        change = {"rps": rps, "seconds": seconds, "warm_s": SETTLE_S}
        result = who.run(config.model_copy(update=change), items)
        p99 = result.routes["recommendations"].ms(99)
        err.print(f"{rps:g} a second: p99 {p99:.1f} ms, {result.errors} errors")
        return result

    found = highest_rate(load, start=config.rps)
    if as_json:
        print_json({"max_rps_p99_50ms": found.rps, "refused_rps": found.refused})
    else:
        beyond = "" if found.refused is None else f"; {found.refused:g} are too many"
        out.print(f"[bold]{found.rps:g}[/] lists a second with p99 < 50 ms{beyond}")


def _show(result: LoadResult) -> None:
    table = titled("load", "route")
    for name in ("requests", "good/s", *(f"{name} ms" for name in QUANTILES), "left late p99 ms"):
        table.add_column(name, justify="right")
    flat = result.flat()
    for route, seen in result.routes.items():
        table.add_row(
            route, f"{len(seen.took_R):,}", f"{flat[f'{route}_good_per_s']:.1f}",
            *(f"{seen.ms(q):.2f}" for q in QUANTILES.values()),
            f"{flat[f'{route}_left_late_p99_ms']:.2f}",
        )  # fmt: skip
    out.print(table)
    for route, seen in result.routes.items():
        for kind, count in seen.errors.items():
            out.print(f"[bold red]{count:,}[/] of {route} failed: {kind}")
    out.print(f"the generator took {result.cpu_share:.0%} of a core")


def _lines(path: Path | None) -> list[str]:
    if path is None:
        return []
    found = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    if not any(found):
        raise ConfigError(f"{path} holds no id; write one a line")
    return [line for line in found if line]


def _plain(value: float) -> float | None:
    return None if value != value else value  # noqa: PLR0124 - NaN alone is not itself
