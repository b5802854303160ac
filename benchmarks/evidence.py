"""The evidence log: what remembering costs, how soon it is durable, what a kill takes, how it forgets.

    python benchmarks/evidence.py --json
    python benchmarks/evidence.py --quick --json

A decision has 200 candidates with 100 features (50 of the user, the same for all candidates, and 50
counts and rates of the item) and 10 slots. The data is made; real features compress otherwise.

1. `put_us_*`: the caller's time, at 100 decisions a second; `durable_ms_*`: from then to the disk;
   `late`, `lost`: of them, beyond 50 ms, and never on disk;
2. `most_per_s`: decisions a second that one thread can hand over for some seconds and none is lost;
   `work_us`: processor time of the whole process a decision, the thread that writes included;
3. `kills`: `kill -9` of a process that hands over 100 a second: `kill_lost_durable` of what it had
   called durable, `kill_lost_most` of all it had handed over, at most in one kill;
4. `get_us`, `get_first_ms`: finding one by its request, and the first time, which reads the indexes;
5. `join_per_s`: decisions joined with their events and written with their features;
   `erase_s`: forgetting one user of a hundred in a log of `log_mib`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

import common
from muma.events.vocabulary import Vocabulary
from muma.rng import derive
from muma.serving.erasure.erasable import Subject
from muma.serving.erasure.evidence import ErasableEvidence
from muma.serving.evidence.log import EvidenceLog, EvidenceLogConfig
from muma.serving.evidence.reader import EvidenceReader
from muma.serving.evidence.training import join
from muma.serving.recommending import Evidence
from muma.testing.evidence_suite import small

N, F, K = 200, 100, 10
COLUMNS = tuple(f"feature_{f}" for f in range(F))
RATE = 100
DAY = 86_400_000_000


def decision(k: int) -> Evidence:
    """A decision of the size that a service makes."""
    rng = derive(7, f"decision {k}")
    user = np.repeat(rng.normal(size=(1, F // 2)), N, axis=0)
    counts = rng.poisson(3, (N, F // 4))
    rates = rng.poisson(3, (N, F // 4)) / (1 + rng.poisson(9, (N, F // 4)))
    value = np.concatenate([user, counts, rates], axis=1).astype(np.float32)
    made = small(f"request-{k}", time=k * 1000, user=f"user-{k % 100}")
    first = made.answer.items[0]
    item_N = rng.choice(7_000, N, replace=False)
    items = tuple(msgspec.structs.replace(first, item=str(item)) for item in item_N[:K])
    return replace(
        made, answer=replace(made.answer, items=items), item_N=item_N, value_NF=value,
        columns=COLUMNS, propensity_K=rng.uniform(size=K), support_K=np.arange(N, N - K, -1),
        vector_D=rng.normal(size=64).astype(np.float32), history_L=rng.choice(7_000, 50),
    )  # fmt: skip


class Timed(EvidenceLog):
    """Notes how long each decision took to the disk."""

    took: list[float]

    def _note_durable(self) -> None:
        now = time.monotonic_ns()
        self.took += [(now - put) / 1e6 for put in self._unsynced]
        super()._note_durable()


def paced(log: EvidenceLog, made: list[Evidence], seconds: float) -> list[float]:
    """Hand decisions over at `RATE`; the microseconds that each took the caller."""
    took, due = [], time.perf_counter()
    for k in range(int(seconds * RATE)):
        due += 1 / RATE
        time.sleep(max(due - time.perf_counter(), 0))
        began = time.perf_counter()
        log.put(made[k % len(made)])
        took.append((time.perf_counter() - began) * 1e6)
    return took


def at_a_pace(made: list[Evidence], seconds: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        log = Timed(EvidenceLogConfig(path=folder))
        log.took = []
        put = np.percentile(paced(log, made, seconds), [50, 99, 100])
        log.flush()
        stats = log.stats()
        durable = np.percentile(log.took, [50, 99, 100])
        log.close()
    return {
        "put_us_p50": put[0], "put_us_p99": put[1], "put_us_max": put[2],
        "durable_ms_p50": durable[0], "durable_ms_p99": durable[1], "durable_ms_max": durable[2],
        "decisions": stats.put, "late": stats.late, "lost": stats.lost,
        "record_kib": stats.bytes / stats.durable / 1024,
    }  # fmt: skip


def at_most(made: list[Evidence], seconds: float) -> dict[str, float]:
    """Double the rate until something is lost; the last rate at which nothing was."""
    rate, best, work = 200, 0, 0.0
    while True:
        with tempfile.TemporaryDirectory() as folder:
            log = EvidenceLog(EvidenceLogConfig(path=folder))
            count, began, used = int(rate * seconds), time.perf_counter(), time.process_time()
            for k in range(count):
                if k % 20 == 0:
                    time.sleep(max(began + k / rate - time.perf_counter(), 0))
                log.put(made[k % len(made)])
            took = time.perf_counter() - began
            waiting = log.stats().waiting
            log.close()
            # a queue that only grew would lose some later
            if log.stats().lost or waiting > rate / 2 or took > 1.2 * seconds:
                return {"most_per_s": best, "work_us": work}
            best, work = rate, (time.process_time() - used) / count * 1e6
        rate = int(rate * 1.5)


def child(folder: str) -> None:
    """Hand over at `RATE` and say how many were handed over, and how many are durable."""
    made = [decision(k) for k in range(20)]
    log = EvidenceLog(EvidenceLogConfig(path=folder, worker=0))
    k = len(list(log.iterate()))
    first = k
    while True:
        log.put(replace(made[k % 20], ask=replace(made[k % 20].ask, request_id=f"r{k}")))
        k += 1
        print(k, first + log.stats().durable, flush=True)
        time.sleep(1 / RATE)


def kills(times: int) -> dict[str, float]:
    lost, most = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(times):
            process = subprocess.Popen(
                [sys.executable, __file__, "--child", folder], stdout=subprocess.PIPE, text=True
            )
            lines = [process.stdout.readline()]
            time.sleep(0.5 + 0.037 * turn)
            process.kill()
            lines += [line for line in process.stdout if line.endswith("\n")]
            process.wait()
            put, durable = (int(word) for word in lines[-1].split())
            kept = sum(1 for _ in EvidenceReader(folder).iterate())
            lost += max(durable - kept, 0)
            most = max(most, put - kept)
    return {"kills": times, "kill_lost_durable": lost, "kill_lost_most": most}


def reading(made: list[Evidence], count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "log"
        log = EvidenceLog(EvidenceLogConfig(path=str(folder), sync=False))
        for k in range(count):
            one = made[k % len(made)]
            ask = replace(one.ask, request_id=f"r{k}", time=k * 1000, user=f"user-{k % 100}")
            log.put(replace(one, ask=ask))
            if k % 500 == 0:
                log.flush()
        log.close()
        size = sum(path.stat().st_size for path in folder.glob("*.evd"))
        reader = EvidenceReader(folder)
        first, _ = common.seconds(lambda: reader.get("r7"))
        names = [f"r{k}" for k in derive(7, "names").integers(0, count, 300)]
        again, _ = common.seconds(lambda: [reader.get(name) for name in names])
        events = pl.DataFrame({
            "request_id": [f"r{k}" for k in range(count)],
            "item_id": [made[k % len(made)].answer.items[k % K].item for k in range(count)],
            "kind": ["click"] * count, "timestamp": [k * 1000 + 5 for k in range(count)],
        })  # fmt: skip
        ids = Vocabulary(pl.Series("id", range(7_000)))
        joined, done = common.seconds(
            lambda: join(reader, events, Path(home) / "out", now=2 * DAY, item_ids=ids)
        )
        assert done.matched == done.decisions == count
        part = ErasableEvidence(folder)
        erased, gone = common.seconds(lambda: part.erase(Subject("user-3")))
        assert gone["decisions"] == sum(k % 100 == 3 for k in range(count))
    return {
        "get_first_ms": first * 1e3, "get_us": again / len(names) * 1e6, "log_decisions": count,
        "log_mib": size / 2**20, "join_per_s": count / joined, "erase_s": erased,
    }  # fmt: skip


def main() -> None:
    flags = common.parser(__doc__)
    flags.add_argument("--child", metavar="FOLDER", help="be the process that is killed")
    args = flags.parse_args()
    if args.child:
        child(args.child)
    made = [decision(k) for k in range(50 if args.quick else 500)]
    found = at_a_pace(made, 5 if args.quick else 60)
    found |= at_most(made, 1 if args.quick else 5)
    found |= kills(2 if args.quick else 20)
    found |= reading(made, 1_000 if args.quick else 10_000)
    common.emit({k: round(float(v), 3) for k, v in found.items()}, as_json=args.json)


if __name__ == "__main__":
    main()
