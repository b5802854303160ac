"""Streams for tests: opened and closed, appended to by another process, looked at in their files."""

import subprocess
import sys
from contextlib import contextmanager

from muma.backends import blocks
from muma.backends.partition_reader import listed
from muma.backends.segments import name_of
from muma.backends.stream_file import FileStream, FileStreamConfig
from muma.testing.stream_suite import events, rows

# argv: folder, number of the run, largest file in bytes or 0. Appends events whose time is their
# number, until it is killed or refused; says after each append how many are acknowledged.
APPEND = """
import itertools, random, resource, sys
import polars as pl
from muma.backends.stream_file import FileStream, FileStreamConfig
from muma.errors import StreamError

folder, seed, largest = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)
stream = FileStream(FileStreamConfig(path=folder, partitions=3, segment_mib=1))
if largest:
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
at = sum(stream.ends().values())
print("ready", at, flush=True)
for turn in itertools.count():
    n = rng.choice([1, 20, 300, 3000])
    users = [f"u{rng.randrange(50 + 20 * turn)}" for _ in range(n)]
    frame = pl.DataFrame({"user_id": users, "item_id": users, "kind": ["click"] * n,
                          "timestamp": range(at, at + n), "request_id": users},
                         schema_overrides={"timestamp": pl.Int64})
    if turn % 7 == 3:
        frame = frame.with_columns(pl.lit(turn).alias(f"ctx_{turn % 3}"))
    try:
        ends = stream.append(frame, received_at=turn)
    except StreamError as error:
        print("refused", error, flush=True)
        break
    at += n
    print("acknowledged", at, ends, flush=True)
"""


@contextmanager
def streams(tmp_path):
    """A function that opens the stream at `tmp_path/s`; all are closed at the end."""
    opened = []

    def make(folder="s", **settings):
        settings = {"fsync": False, **settings}
        opened.append(FileStream(FileStreamConfig(path=str(tmp_path / folder), **settings)))
        return opened[-1]

    try:
        yield make
    finally:
        for stream in opened:
            stream.close()


def three_blocks(opened, tmp_path):
    """A closed stream of one partition with three blocks of 4, 1 and 2 events."""
    stream = opened(partitions=1)
    for at, n in ((0, 4), (4, 1), (5, 2)):
        stream.append(events([f"u{k}" for k in range(n)], start=at), received_at=at)
    stream.close()
    return tmp_path / "s"


def start(folder, seed=0, largest=0):
    command = [sys.executable, "-c", APPEND, str(folder), str(seed), str(largest)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ready")
    return process


def times(stream):
    """The times of all events, sorted; offsets are checked to have no gap."""
    found = []
    for partition, end in stream.ends().items():
        frame = rows(stream, partition, limit=10_000)
        assert frame.height == end
        stream.user_ids.decode(frame.get_column("user_id"))  # every id is known
        found += frame.get_column("timestamp").to_list()
    return sorted(found)


def last_segment(folder, partition=0):
    place = folder / f"p{partition}"
    return place / name_of(listed(place)[-1])


def block_starts(path):
    """Bytes at which the blocks of a segment begin."""
    raw = path.read_bytes()
    return [at for at in range(len(raw)) if raw.startswith(blocks.MAGIC, at)]
