"""The service under load, through HTTP: latency, the highest rate, ranking, freshness, start.

    python benchmarks/serving.py --json            # trains the demo once, into benchmarks/.cache
    python benchmarks/serving.py --quick --json    # a smaller training, short runs: not a result

KuaiRand: everything before the test window is in the store, five sources, about 200 candidates an
answer, two boosted engines, features live, evidence on. The load comes from a process of its own at a
fixed rate, is timed from when each request should have left, and shares the cores with the service.
1,000 events a second flow in, in batches of 50, each on the disk before it is acknowledged, all the time
that anything is measured. A click is fresh when an answer's `as_of` has reached it; that the clicked
item is gone and the features of the ranker have changed is checked for the first ones.
`core_ms_before` and `core_ms_after` tell how fast a core was then (`common.core_ms`).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np

import common
import served
from muma.client.load.load import LoadConfig, LoadResult
from muma.client.load.search import highest_rate

EVENTS = 1_000.0  # a second
CLICKED = 20  # clicks of which features are looked at


def latency(result: LoadResult, route: str, name: str) -> dict[str, float]:
    """Percentiles of a route."""
    seen = result.routes[route]
    quantiles = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0}
    found = {f"{name}{key}_ms": round(seen.ms(q), 3) for key, q in quantiles.items()}
    return {**found, f"{name}requests": len(seen.took_R)}


def candidates(link: served.Link, users: list[str]) -> list[int]:
    """Candidates that were ranked for some users."""
    found = []
    for user in users:
        asked = link.post("/v1/recommendations", {"user": user})
        found.append(len(link.get(f"/v1/decisions/{asked['request_id']}")["candidates"]))
    return found


class Clicks:
    """Clicks, and how long until an answer knows of them."""

    def __init__(self, server: served.Server, name: str) -> None:
        self._link, self._name = served.Link(server), name

    def one(self, n: int, user: str, *, look: bool) -> float:
        """Milliseconds from sending a click on a shown item until an answer that knows it has come."""
        link = self._link
        before = link.post("/v1/recommendations", {"user": user})
        item = before["items"][0]["item"]
        event = {"event_id": f"{self._name}-{n}", "user_id": user, "kind": "click", "item_id": item}
        began = time.perf_counter()
        link.post("/v1/events", event)
        while True:
            after = link.post("/v1/recommendations", {"user": user})
            took = time.perf_counter() - began
            if after["as_of"] > before["as_of"]:
                break
            if took > 30:
                raise SystemExit(f"a click was not seen within {took:.0f} s")
        if item in {one["item"] for one in after["items"]}:
            raise SystemExit(f"{item} is shown again after the click")
        if look:
            then, now = (self._user(answer["request_id"]) for answer in (before, after))
            if then == now:
                raise SystemExit("a click changed no feature of its user")
        return took * 1e3

    def _user(self, request_id: str) -> list[float | None]:
        """Features of the user alone, but for ages, as the ranker saw them."""
        kept = self._link.get(f"/v1/decisions/{request_id}")
        wanted = [n for n, name in enumerate(kept["columns"]) if name.startswith("user.")]
        return [kept["values"][0][n] for n in wanted if ".last." not in kept["columns"][n]]


def measured(sets: list[str], *, quick: bool) -> dict[str, object]:
    """Everything of one service."""
    users, items = served.ids(sets)
    rng = np.random.default_rng(7)
    chosen = [users[n] for n in rng.permutation(len(users))[:5_000].tolist()]
    starts = []
    with served.serving(served.RECIPE, sets):
        pass  # the first start feeds the log to the stream, and compiles kernels
    for _ in range(0 if quick else 2):
        with served.serving(served.RECIPE, sets) as server:
            starts.append(server.start_s)
    with served.serving(served.RECIPE, sets) as server, served.beside() as pool:
        starts.append(server.start_s)
        worker, pump, link = server.worker(), server.pump(), served.Link(server)

        def load(**more: float | str) -> LoadResult:
            config = LoadConfig.model_validate({"events_per_s": EVENTS, **more})
            found = pool.apply(served.load, (server.url, server.key, config, chosen, items))
            for route, seen in found.routes.items():
                quantiles = " ".join(f"p{q} {seen.ms(q):.1f}" for q in (50, 90, 99))
                print(f"{more}: {route} {quantiles} ms", file=sys.stderr)
            return found

        first = link.post("/v1/recommendations", {"user": chosen[0]})
        count = candidates(link, chosen[: 20 if quick else 200])
        result: dict[str, object] = {
            "start_s": round(statistics.median(starts), 3), "start_max_s": round(max(starts), 3),
            "candidates_median": statistics.median(count), "candidates_min": min(count),
            "candidates_max": max(count), "degraded_at_first": len(first["degraded"]),
        }  # fmt: skip
        seconds = 5.0 if quick else 60.0
        core = [common.core_ms()]
        began, cpu, cpu_pump = time.perf_counter(), served.cpu_s(worker), served.cpu_s(pump)
        base = load(rps=100.0, seconds=seconds)
        spent = time.perf_counter() - began
        core.append(common.core_ms())
        result |= latency(base, "recommendations", "") | latency(base, "events", "events_batch_")
        result |= {
            "errors": base.errors,
            "core_ms_before": round(core[0]),
            "core_ms_after": round(core[1]),
            "service_cores": round((served.cpu_s(worker) - cpu) / spent, 3),
            "pump_cores": round((served.cpu_s(pump) - cpu_pump) / spent, 3),
            "generator_cores": round(base.cpu_share, 3),
            "left_late_p99_ms": round(
                float(np.percentile(base.routes["recommendations"].late_R, 99)) * 1e3, 3
            ),
        }
        random = load(rps=100.0, seconds=seconds / 2, arrivals="poisson")
        result |= latency(random, "recommendations", "poisson_")
        ranked = load(rps=0.0, rank_rps=100.0, rank_items=100, seconds=seconds / 2)
        result |= latency(ranked, "rank", "rank_")
        first_ten = load(
            rps=0.0, rank_rps=100.0, rank_items=100, rank_count=10, seconds=seconds / 2
        )
        result |= latency(first_ten, "rank", "rank_first_10_")
        result |= freshness(server, pool, chosen, items, 20 if quick else 300)
        found = highest_rate(
            lambda rps: load(rps=rps, seconds=2.0 if quick else 8.0, warm_s=1.0),
            start=100.0, within=0.3 if quick else 0.05,
        )  # fmt: skip
        errors = base.errors + random.errors + ranked.errors + first_ten.errors
        result |= {"max_rps_p99_50ms": found.rps, "errors": errors}
    return result


def freshness(
    server: served.Server, pool: served.Pool, users: list[str], items: list[str], n: int
) -> dict[str, float]:
    """Of clicks, while 50 lists and 1,000 events a second are under way."""
    config = LoadConfig(rps=50.0, events_per_s=EVENTS, seconds=1.0 + n * 0.15, warm_s=0.5, seed=1)
    # of other users, so that only the click can be what an answer's `as_of` tells of
    others, mine = users[:-n], users[-n:]
    background = pool.apply_async(served.load, (server.url, server.key, config, others, items))
    clicks, took = Clicks(server, f"fresh-{time.time_ns()}"), []
    for place, user in enumerate(mine):
        took.append(clicks.one(place, user, look=place < CLICKED))
        time.sleep(0.02)
    background.get()
    return {
        "freshness_ms_p50": round(float(np.median(took)), 2),
        "freshness_ms_p99": round(float(np.percentile(took, 99)), 2),
        "freshness_ms_max": round(max(took), 2),
        "freshness_clicks": len(took),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    parser.add_argument("--quick", action="store_true", help="a smaller training: not a result")
    parser.add_argument("--runs", help="folder of runs, to use a training of the demo again")
    args = parser.parse_args()
    sets = served.trained(args.runs, quick=args.quick)
    result: dict[str, object] = {"quick": "not a result" if args.quick else False}
    common.emit(result | measured(sets, quick=args.quick), as_json=args.json)


if __name__ == "__main__":
    main()
