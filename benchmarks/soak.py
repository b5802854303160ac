"""The service for a long time under an even load: does memory grow, do files stay open, does it slow down?

    python benchmarks/soak.py --rps 50 --json         # 20 minutes; --rps is half of the highest rate
    python benchmarks/soak.py --minutes 5 --json
    python benchmarks/soak.py --quick --json          # 40 s on a smaller training: not a result

Memory is that of the worker and its pump, their own (`RssAnon`); pages of the store's file that the system keeps are told apart.
The slope is least squares over the means of twenty equal stretches of the last three quarters of the
time, with a t interval of 95 %; the first quarter fills caches and is left out. What the pump keeps by
design is bounded, and the bounds (`BOUNDS`) are reached in the first quarter, so that any growth after it
is one: rows of keys stay in memory up to `stream.memory_mib` (a pair of user and category that is met for
the first time is one more), ids of events for `stream.dedup_horizon`.
"""

from __future__ import annotations

import argparse
import threading
import time
from pathlib import Path

import numpy as np
from scipy import stats

import common
import served
from muma.client.load.load import LoadConfig

MIB = 1024.0  # KiB
STRETCHES = 20
BOUNDS = ["stream.memory_mib=96", "stream.dedup_horizon='2m'"]


class Watch:
    """Looks at some processes together every second, from a thread."""

    def __init__(self, *pids: int) -> None:
        self._pids, self._stop = pids, threading.Event()
        self.rows: list[tuple[float, float, float, float, float, float]] = []
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        began = time.monotonic()
        while not self._stop.wait(1.0):
            told = [served.status(pid) for pid in self._pids]
            own, resident, threads = (
                sum(one[name] for one in told) for name in ("RssAnon", "VmRSS", "Threads")
            )
            open_files = sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in self._pids)
            last = told[-1]["RssAnon"] / MIB
            now = time.monotonic() - began
            self.rows.append((now, own / MIB, resident / MIB, open_files, threads, last))

    def end(self) -> np.ndarray:
        """Seconds, own MiB, resident MiB, open files, threads, own MiB of the last process: [T, 6]."""
        self._stop.set()
        self._thread.join()
        return np.array(self.rows)


def slope(second_T: np.ndarray, value_T: np.ndarray) -> tuple[float, float, float]:
    """Growth an hour with its 95 % interval, of the means of equal stretches."""
    pieces = [np.array_split(one, STRETCHES) for one in (second_T, value_T)]
    x, y = (np.array([piece.mean() for piece in part]) for part in pieces)
    fit = stats.linregress(x, y)
    half = stats.t.ppf(0.975, STRETCHES - 2) * fit.stderr
    return tuple(3_600 * one for one in (fit.slope, fit.slope - half, fit.slope + half))


def soaked(sets: list[str], *, minutes: float, rps: float, events: float) -> dict[str, object]:
    """One service, one load."""
    users, items = served.ids(sets)
    with served.serving(served.RECIPE, sets) as server, served.beside() as pool:
        watch = Watch(server.worker(), server.pump())
        config = LoadConfig(rps=rps, events_per_s=events, seconds=60 * minutes, warm_s=5.0)
        done = pool.apply(served.load, (server.url, server.key, config, users[:5_000], items))
        seen_T6 = watch.end()
    late_T6 = seen_T6[len(seen_T6) // 4 :]
    second_T, own_T = late_T6[:, 0], late_T6[:, 1]
    grown, low, high = slope(second_T, own_T)
    answering, answering_low, answering_high = slope(second_T, own_T - late_T6[:, 5])
    result: dict[str, object] = {
        "minutes": minutes, "rps": rps, "events_per_s": events, "errors": done.errors,
        "own_mib_start": round(float(seen_T6[0, 1]), 1), "own_mib_end": round(float(own_T[-1]), 1),
        "own_mib_per_hour": round(grown, 2), "own_mib_per_hour_low": round(low, 2),
        "own_mib_per_hour_high": round(high, 2),
        "worker_mib_per_hour": round(answering, 2),
        "worker_mib_per_hour_low": round(answering_low, 2),
        "worker_mib_per_hour_high": round(answering_high, 2),
        "pump_mib_start": round(float(seen_T6[0, 5]), 1),
        "pump_mib_end": round(float(late_T6[-1, 5]), 1),
        "resident_mib_end": round(float(late_T6[-1, 2]), 1),
        "open_files_after_quarter": int(late_T6[0, 3]), "open_files_end": int(late_T6[-1, 3]),
        "open_files_max": int(seen_T6[:, 3].max()),
        "threads_after_quarter": int(late_T6[0, 4]), "threads_end": int(late_T6[-1, 4]),
    }  # fmt: skip
    lists = done.routes["recommendations"]
    minute_R = ((lists.at_R - config.warm_s) // 60).astype(int)
    per = [float(np.percentile(lists.took_R[minute_R == m], 99)) * 1e3 for m in np.unique(minute_R)]
    result |= {f"p99_ms_minute_{m + 1:02d}": round(value, 2) for m, value in enumerate(per)}
    return result | {"p50_ms": round(lists.ms(50), 2), "p99_ms": round(lists.ms(99), 2)}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    parser.add_argument("--quick", action="store_true", help="40 s, a smaller training")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--rps", type=float, default=50.0, help="lists a second")
    parser.add_argument("--events-per-s", type=float, default=500.0)
    parser.add_argument("--runs", help="folder of runs, to use a training of the demo again")
    args = parser.parse_args()
    sets = [*served.trained(args.runs, quick=args.quick), *BOUNDS]
    minutes, rps = (20 / 60, 10.0) if args.quick else (args.minutes, args.rps)
    found = soaked(sets, minutes=minutes, rps=rps, events=args.events_per_s)
    result: dict[str, object] = {"quick": "not a result" if args.quick else False}
    common.emit(result | found, as_json=args.json)


if __name__ == "__main__":
    main()
