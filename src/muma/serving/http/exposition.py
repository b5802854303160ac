"""Counts and times in Prometheus' text format; several worker processes add up.

Each worker leaves its numbers in a file of its own, replaced as a whole, and whoever is asked adds all
files of the folder. Files of workers that are gone stay, so that no counter ever falls.
"""

from __future__ import annotations

import bisect
import os
import secrets
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import msgspec

from muma.errors import StoreError

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
HELP = {
    "muma_requests_total": "Requests answered, by route, method and status.",
    "muma_request_seconds": "Time from the request's head to the answer's last byte.",
    "muma_answers_degraded_total": "Answers in which a part was left out.",
    "muma_events_total": "Events by what became of them.",
    "muma_events_withheld_total": "Events that came without their users' consent, by source of data.",
    "muma_unexpected_errors_total": "Failures inside: each is an error in the log.",
    "muma_turned_away_total": "Requests turned away because too much was waiting.",
}
Labels = tuple[tuple[str, str], ...]


class _Held(msgspec.Struct):
    counts: dict[str, float]


class Metrics:
    """Counters of one process; used by its event loop's thread only.

    Args:
        folder: where workers leave their numbers; None when there is one process.

    Example:
        >>> metrics = Metrics()
        >>> metrics.add("muma_events_total", 3, outcome="accepted")
        >>> [line for line in metrics.text().splitlines() if "outcome" in line]
        ['muma_events_total{outcome="accepted"} 3']
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self._folder = None if folder is None else Path(folder)
        self._name = f"worker-{os.getpid()}-{secrets.token_hex(4)}.json"
        self._counts: dict[str, float] = {}

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter; its labels come from small fixed sets."""
        key = _series(name, tuple(labels.items()))
        self._counts[key] = self._counts.get(key, 0) + amount

    def observe(self, *, route: str, method: str, status: int, seconds: float) -> None:
        """One request."""
        self.add("muma_requests_total", route=route, method=method, status=str(status))
        at = bisect.bisect_left(BOUNDS_S, seconds)
        le = f"{BOUNDS_S[at]:g}" if at < len(BOUNDS_S) else "+Inf"
        self.add("muma_request_seconds_bucket", route=route, le=le)
        self.add("muma_request_seconds_sum", seconds, route=route)

    def leave(self) -> None:
        """Write this worker's numbers for the others to add.

        Raises:
            StoreError: the folder cannot be written.
        """
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            beside = self._folder / f".{self._name}.new"
            beside.write_bytes(msgspec.json.encode(_Held(self._counts)))
            beside.replace(self._folder / self._name)
        except OSError as error:
            raise StoreError(
                f"metrics cannot be left in {self._folder}: {error.strerror}"
            ) from error

    def text(self) -> str:
        """All workers' numbers in Prometheus' text format 0.0.4."""
        return exposition([self._counts, *self._others()])

    def _others(self) -> Iterable[dict[str, float]]:
        if self._folder is None:
            return
        for path in sorted(self._folder.glob("worker-*.json")):
            if path.name != self._name:
                try:
                    yield msgspec.json.decode(path.read_bytes(), type=_Held).counts
                except (OSError, msgspec.DecodeError):
                    continue  # a file that is being cleared away counts for nothing


def exposition(counted: Iterable[dict[str, float]]) -> str:
    """Add the numbers up and write them; histogram buckets are made cumulative here."""
    total: dict[str, float] = {}
    for counts in counted:
        for key, value in counts.items():
            total[key] = total.get(key, 0) + value
    lines = []
    for name, explained in HELP.items():
        kind = "histogram" if name.endswith("_seconds") else "counter"
        lines += [f"# HELP {name} {explained}", f"# TYPE {name} {kind}"]
        if kind == "counter":
            own = sorted(key for key in total if key.startswith(name + "{"))
            lines += [f"{key} {total[key]:.17g}" for key in own] or [f"{name} 0"]
        else:
            lines += _histogram(name, total)
    return "\n".join(lines) + "\n"


def _histogram(name: str, total: dict[str, float]) -> list[str]:
    lines = []
    head = f"{name}_sum"
    for key in sorted(key for key in total if key.startswith(head + "{")):
        route = key[len(head) + 1 : -1]
        running = 0.0
        for bound in (*(f"{bound:g}" for bound in BOUNDS_S), "+Inf"):
            labels = f'{route},le="{bound}"'
            running += total.get(f"{name}_bucket{{{labels}}}", 0)
            lines.append(f"{name}_bucket{{{labels}}} {running:.17g}")
        lines += [f"{key} {total[key]:.17g}", f"{name}_count{{{route}}} {running:.17g}"]
    return lines


@lru_cache(maxsize=4096)  # labels come from small fixed sets
def _series(name: str, labels: Labels) -> str:
    if not labels:
        return f"{name}{{}}"
    inner = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels)
    return f"{name}{{{inner}}}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
