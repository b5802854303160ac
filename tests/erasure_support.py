"""A small service's files with everything that stores a person, and an erasure over them.

Run as a script with a folder and a number, it erases "needle-user" and kills itself before the n-th
time that something would reach the disk.
"""

import os
import signal
import sys
from contextlib import contextmanager
from dataclasses import replace

import msgspec
import polars as pl
import zstandard

from muma.backends import blocks, growing_ids, lmdb_purge, partition_writer, stream_forget
from muma.backends.lmdb_purge import purge
from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.backends.stream_file import FileStream, FileStreamConfig
from muma.features.online.pump import Pump
from muma.serving.erasure import erasure as erasing
from muma.serving.erasure.erasure import Erasure
from muma.serving.erasure.evidence import ErasableEvidence
from muma.serving.erasure.parts import ErasableModels, ErasableState, ErasableStream, Learned
from muma.serving.evidence import segments
from muma.serving.evidence.frames import ZSTD, frames
from muma.serving.evidence.log import EvidenceLog, EvidenceLogConfig
from muma.serving.evidence.reader import EvidenceReader
from muma.serving.evidence.segments import BEGIN, listed, mapped
from muma.testing.evidence_suite import small
from online_support import MINUTE, T0, engine_of, every_state

ME = "needle-user"
USERS = ["u0", "u1", ME, "u3", "u4"]
NEEDLES = [b"needle", b"USER:2:"]


def decision(k):
    """A decision; those of the person can be told by every value."""
    user = USERS[k % 5]
    made = small(f"{user}-r{k}" if k % 2 else f"r{k}", time=T0 + k, user=user)
    if user != ME:
        return made
    ask = replace(made.ask, session=("needle-item",), context={"needle-page": 1.0},
                  region="needle-region", exclude=("needle-seen",))  # fmt: skip
    items = tuple(
        msgspec.structs.replace(i, reason="needle-reason", groups={"needle": 1.0})
        for i in made.answer.items
    )
    hits = (replace(made.hits[0], items=("needle-hit",)),)
    return replace(made, ask=ask, answer=replace(made.answer, items=items), hits=hits)


def build(folder):
    """The files of a service: two workers' evidence, a stream, a state with a copy of it."""
    for worker in range(2):
        log = EvidenceLog(EvidenceLogConfig(path=str(folder / "evidence"), worker=worker,
                                            segment_mib=0.01, codec=("zstd", "plain")[worker]))  # fmt: skip
        for k in range(worker, 60, 2):
            log.put(decision(k))
            log.flush()
        log.close()
    stream, store = streams(folder), states(folder)
    pump = pump_of(stream, store)
    for turn in range(3):
        n = 50
        users = [USERS[k % 5] for k in range(n)]
        stream.append(pl.DataFrame({
            "user_id": users, "item_id": [f"i{k % 7}" for k in range(n)], "kind": ["click"] * n,
            "timestamp": [T0 + (turn * n + k) * MINUTE for k in range(n)],
            "request_id": [f"{u}-{k}" for k, u in enumerate(users)],
            "ctx_place": ["needle-place" if u == ME else "home" for u in users],
        }), received_at=T0 + (turn + 1) * n * MINUTE)  # fmt: skip
        pump.step()
        pump.settle()
        store.checkpoint()
    pump.close()
    store.close()
    stream.close()


def streams(folder):
    return FileStream(FileStreamConfig(path=str(folder / "stream"), partitions=2))


def states(folder):
    return LmdbStore(LmdbConfig(path=str(folder / "state")))


def pump_of(stream, store):
    return Pump(stream, engine_of(every_state(), store), store, clock=lambda: T0)


@contextmanager
def erasure_of(folder):
    """An erasure over all of it."""

    @contextmanager
    def state():
        store = states(folder)
        try:
            yield store
        finally:
            store.close()

    stream = streams(folder)
    try:
        events = ErasableStream(stream)
        yield Erasure(
            folder / "erasures",
            [
                events,
                ErasableState(state, purge=lambda: purge(str(folder / "state"))),
                ErasableEvidence(folder / "evidence", item_columns=["item_age"]),
                ErasableModels(lambda: [Learned("rank 7", T0, T0 + MINUTE)]),
            ],
            clock=lambda: T0 + 5,
            find=events.find,
        )
    finally:
        stream.close()


def found(folder):
    """Which needles some file holds, names of files and compressed records included."""
    raw = []
    for path in folder.rglob("*"):
        raw.append(path.name.encode())
        if path.is_file():
            raw.append(path.read_bytes())
    if (folder / "evidence").is_dir():
        for place in listed(folder / "evidence"):
            with mapped(place.data(folder / "evidence")) as data:
                raw += [
                    zstandard.ZstdDecompressor().decompress(data[f.begin : f.end])
                    for f in frames(data, BEGIN)
                    if f.codec == ZSTD
                ]
    whole = b"\n".join(raw)
    return [needle for needle in NEEDLES if needle in whole]


def others(folder):
    """Everything that can be read of other users: decisions, events, state."""
    decisions = {
        e.ask.request_id: e for e in EvidenceReader(folder / "evidence").iterate() if e.ask.user
    }
    stream = streams(folder)
    frames_read = []
    for partition in range(stream.partitions):
        batch = stream.read(partition, 0, limit=10_000)
        frames_read.append(batch.frame)
    events = pl.concat(frames_read).sort("timestamp")
    stream.close()
    store = states(folder)
    with store.snapshot() as view:
        state = {
            (table, int(key)): records[place]
            for table in view.tables()
            for keys, records in view.scan(table)
            for place, key in enumerate(keys)
        }
    store.close()
    return decisions, events, state


def arm(at, kill):
    """Let `kill` be called before the `at`-th time that something would reach the disk."""
    left = [at]

    def dying(call):
        def step(*arguments, **options):
            left[0] -= 1
            if left[0] <= 0:
                kill()
            return call(*arguments, **options)

        return step

    for module, name in [
        (blocks, "write_all"), (growing_ids, "write_all"), (growing_ids, "sync_folder"),
        (stream_forget, "write_all"), (stream_forget, "sync_folder"), (lmdb_purge, "flush"),
        (lmdb_purge.shutil, "rmtree"), (lmdb_purge.shutil, "copyfile"), (segments, "flush"),
        (erasing, "flush"), (partition_writer.os, "fsync"), (erasing.Path, "rename"),
        (erasing.Path, "replace"), (erasing.Path, "unlink"), (LmdbStore, "commit"),
    ]:  # fmt: skip
        setattr(module, name, dying(getattr(module, name)))
    return left


def main():
    folder, at = erasing.Path(sys.argv[1]), int(sys.argv[2])
    left = arm(at, lambda: os.kill(os.getpid(), signal.SIGKILL))
    with erasure_of(folder) as erasure:
        erasure.erase(ME)
    print("done", at - left[0])


if __name__ == "__main__":
    main()
